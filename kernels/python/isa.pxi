# Instruction sets by name.


cdef extern from "cpu/kernel_table.h" nogil:
    const kernels_t *kernels_of(const char *isa)
    const kernels_t *kernels_best()
    int kernels_usable(const char **names)


cdef list usable_isas():
    """Names of the instruction sets whose kernels run on this machine, weakest first."""
    cdef const char *names[MAX_TABLES]
    return [names[i].decode() for i in range(kernels_usable(names))]


cdef const kernels_t *table_of(str isa) except NULL:
    """The functions of an instruction set; None: of the strongest one, or of what SUBBYTE_ISA names."""
    cdef const kernels_t *table = kernels_best() if isa is None else kernels_of(isa.encode())
    if table == NULL:
        name = repr(isa) if isa is not None else f"{os.environ.get('SUBBYTE_ISA')!r} (from SUBBYTE_ISA)"
        raise ValueError(
            f"instruction set {name} is unknown or not on this machine; it runs {', '.join(usable_isas())}")
    return table


def isas() -> list[str]:
    """Instruction sets whose kernels run on this machine, weakest first; "scalar" is always there."""
    return usable_isas()


def best_isa() -> str:
    """The instruction set in use: the strongest one, or what the environment variable SUBBYTE_ISA names."""
    return table_of(None).name.decode()
