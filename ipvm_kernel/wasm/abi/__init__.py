"""A second way into a component: its core modules through the engine's core API, its values straight in their memory.

wasmtime's own way takes a structure of 32 bytes for each value and a microsecond for each step. Here the component's
binary is read, its core modules are instantiated as it says, and values are lowered and lifted by the rules of the
component model's CanonicalABI.md: a list of numbers is one copy each way.

    cursor      a place in a binary, read strictly
    core        what an embedded core module imports and exports
    typing      the type sections of a component
    component   the rest of a component: what is instantiated with what, what is lifted, what is lowered
    wiring      what of that is needed to run it, as data that can be kept
    layout      how large a type is, how it is aligned, and the core values that it is
    shapes      values of a type as items of `struct`, in memory or in registers
    texts       strings in their three encodings
    guest       one instance's memory and its `realloc`, while a call lasts
    batch       a thousand calls of `realloc` at once
    imports     functions of the host as core functions
    straight    a component that is driven this way: loaded, kept, called

What cannot be driven this way says why, in a sentence, and goes through `capi`.
"""
