/* How many int8 multiply-adds the machine can do at best: chains that don't wait for each other, nothing loaded or stored. The file
 * that includes this first defines CHAINS, `sums`, its vector, and multiply_add(sum, x), with bytes x for both factors. */
static int64_t int8_peak(int64_t n)
{
    sums sum[CHAINS], x = (sums){0} + 0x0101010101010101;
#pragma GCC unroll 16
    for (int i = 0; i < CHAINS; i++)
        sum[i] = (sums){0} + i;                /* of equal ones the compiler would keep one */
    for (int64_t round = 0; round < n; round++)
#pragma GCC unroll 16
        for (int i = 0; i < CHAINS; i++)
            sum[i] = multiply_add(sum[i], &x);
#pragma GCC unroll 16
    for (int i = 1; i < CHAINS; i++)
        sum[0] ^= sum[i];
    volatile int64_t used = sum[0][0];         /* what nobody reads might never be computed */
    (void)used;
    return n * CHAINS * (int64_t)sizeof x;
}
