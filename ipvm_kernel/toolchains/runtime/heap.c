// Memory for the cell and for whoever calls it: one heap that only grows, since an instance lives for one call.

#include "ipvm.h"

extern char __heap_base;

static uint64_t top = 0; // the first free byte; 0 before the first use

static void *reserve(size_t size, size_t boundary) {
    const uint64_t page = 64 * 1024;
    if (top == 0) top = (uintptr_t)&__heap_base;
    uint64_t start = (top + boundary - 1) / boundary * boundary;
    uint64_t have = (uint64_t)__builtin_wasm_memory_size(0) * page;
    if (start + size > 65535 * page) __builtin_trap();
    if (start + size > have) {
        size_t more = (size_t)((start + size - have + page - 1) / page);
        if (__builtin_wasm_memory_grow(0, more) == (size_t)-1) __builtin_trap();
    }
    top = start + size;
    return (void *)(uintptr_t)start;
}

void *ipvm_alloc(size_t size) {
    return reserve(size, 16);
}

void *cabi_realloc(void *old, size_t old_size, size_t boundary, size_t size) {
    if (size == 0) return (void *)boundary;
    unsigned char *new = reserve(size, boundary);
    for (size_t i = 0; i < old_size && i < size; i++) new[i] = ((unsigned char *)old)[i];
    return new;
}
