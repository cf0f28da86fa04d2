/* Choosing a kernel table: each is for one instruction set; the last one that this processor runs is the default. */
#include "cpu.h"
#include "core.h"
#if defined(__x86_64__)
#include <cpuid.h>
#include <sys/syscall.h>
#include <unistd.h>

extern const lf_kernels lf_kernels_sse2, lf_kernels_avx, lf_kernels_avx2, lf_kernels_avxvnni, lf_kernels_avx512,
    lf_kernels_avx512vnni, lf_kernels_amx;

typedef struct {
    unsigned avx, fma, f16c, avx2, avxvnni, avx512, avx512vnni, avx512bf16, amx;
} lf_features;

/* The registers that the system saves at a switch: without them an instruction set is of no use. */
static unsigned lf_xcr0(void) {
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static lf_features lf_detect(void) {
    lf_features f = {0};
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE) || (lf_xcr0() & 6) != 6) return f;
    int zmm = (lf_xcr0() & 0xe6) == 0xe6;
    f.avx = (c & bit_AVX) != 0;
    f.fma = (c & bit_FMA) != 0;
    f.f16c = (c & bit_F16C) != 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return f;
    f.avx2 = f.avx && (b & bit_AVX2);
    /* F (16), DQ (17), CD (28), BW (30), VL (31) */
    f.avx512 = zmm && (b & 0xd0030000u) == 0xd0030000u;
    f.avx512vnni = f.avx512 && (c & (1u << 11));
    /* BF16 (22), TILE (24), INT8 (25) */
    f.amx = (lf_xcr0() & 0x60000) == 0x60000 && (d & 0x03400000u) == 0x03400000u;
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d)) {
        f.avxvnni = f.avx2 && (a & (1u << 4));
        f.avx512bf16 = f.avx512 && (a & (1u << 5));
    }
    return f;
}

static int lf_sse2(lf_features f) { return (void)f, 1; }
static int lf_avx(lf_features f) { return f.avx != 0; }
static int lf_avx2(lf_features f) { return f.avx2 && f.fma && f.f16c; }
static int lf_avxvnni(lf_features f) { return lf_avx2(f) && f.avxvnni; }
static int lf_avx512(lf_features f) { return lf_avx2(f) && f.avx512; }
static int lf_avx512vnni(lf_features f) { return lf_avx512(f) && f.avx512vnni && f.avx512bf16; }

/* Linux hands out the tiles' registers on request only, to all threads of the process, also those to come. */
static int lf_amx(lf_features f) {
    const long request = 0x1023 /* ARCH_REQ_XCOMP_PERM */, tile_data = 18;
    if (!lf_avx512vnni(f)) return 0;
#ifdef LF_AMX_EMULATED
    return 1;
#else
    return f.amx && syscall(SYS_arch_prctl, request, tile_data) == 0;
#endif
}

static const struct {
    const lf_kernels *kernels;
    int (*runs)(lf_features);
} lf_sets[] = {
    {&lf_kernels_sse2, lf_sse2},     {&lf_kernels_avx, lf_avx},       {&lf_kernels_avx2, lf_avx2},
    {&lf_kernels_avxvnni, lf_avxvnni}, {&lf_kernels_avx512, lf_avx512}, {&lf_kernels_avx512vnni, lf_avx512vnni},
    {&lf_kernels_amx, lf_amx},
};
int lf_isa_runs(int i) { return i >= 0 && i < lf_isa_count() && lf_sets[i].runs(lf_detect()); }
#else
extern const lf_kernels lf_kernels_generic;
static const struct {
    const lf_kernels *kernels;
} lf_sets[] = {{&lf_kernels_generic}};
int lf_isa_runs(int i) { return i == 0; }
#endif

static int lf_choice = -1;

int lf_isa_count(void) { return (int)(sizeof lf_sets / sizeof *lf_sets); }

const char *lf_isa_name(int i) { return i >= 0 && i < lf_isa_count() ? lf_sets[i].kernels->name : 0; }

int lf_isa_chosen(void) {
    if (lf_choice < 0)
        for (int i = 0; i < lf_isa_count(); i++)
            if (lf_isa_runs(i)) lf_choice = i;
    return lf_choice;
}

int lf_isa_choose(int i) {
    if (!lf_isa_runs(i)) return -1;
    lf_choice = i;
    return 0;
}

const lf_kernels *lf_kernels_chosen(void) { return lf_sets[lf_isa_chosen()].kernels; }
