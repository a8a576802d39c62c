/* How many int8 multiply-adds the machine can do at best. The file that includes this first defines AT_ONCE, how many of them the
 * fastest instruction does, `sums`, its vector, and multiply_add(sum, x), that instruction with x for both its factors. */
enum { CHAINS = 16 };      /* a result takes 3 or 4 cycles, and up to four can be begun in each */

static int64_t int8_peak(int64_t n)
{
    sums sum[CHAINS];
    int8x16_t x = vdupq_n_s8(1);
    for (int i = 0; i < CHAINS; i++)
        sum[i] = (sums){0};
    for (int64_t round = 0; round < n; round++)
        #pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++) {
            __asm__("" : "+w"(x));             /* another x, as far as the compiler knows: else it would multiply once */
            sum[i] = multiply_add(sum[i], x);
        }
    for (int i = 1; i < CHAINS; i++)
        sum[0] ^= sum[i];
    volatile int used = sum[0][0];             /* what nobody reads might never be computed */
    (void)used;
    return n * CHAINS * AT_ONCE;
}
