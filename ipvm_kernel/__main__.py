"""`python -m ipvm_kernel -f CONNECTION_FILE`: start the kernel, as its kernelspec does."""

from __future__ import annotations


def main() -> None:
    """Start the kernel."""
    from ipykernel.kernelapp import IPKernelApp

    from ipvm_kernel.kernel import IPVMKernel

    IPKernelApp.launch_instance(kernel_class=IPVMKernel)


if __name__ == "__main__":
    main()
