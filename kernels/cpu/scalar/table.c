/* The reference every machine has and every faster table starts from. Together its parts fill every slot but `dot`, which has no
 * scalar version: unpack, then dot_codes. */
#include "cpu/kernel_table.h"

void fill_scalar_formats(struct kernels *table);    /* formats.c: unpack, to_float */
void fill_scalar_int8(struct kernels *table);       /* int8.c: quantize, pack_q8, dot_codes, gemm */
void fill_scalar_fold(struct kernels *table);       /* fold.c */
void fill_scalar_float(struct kernels *table);      /* float.c: products of floats */
void fill_scalar_layer(struct kernels *table);      /* layer.c: norms, rope, activations, logits */
void fill_scalar_attention(struct kernels *table);  /* attention.c */
void fill_scalar_recurrent(struct kernels *table);  /* recurrent.c */
void fill_scalar_peak(struct kernels *table);       /* peak.c */

void fill_scalar(struct kernels *table)
{
    fill_scalar_formats(table);
    fill_scalar_int8(table);
    fill_scalar_fold(table);
    fill_scalar_float(table);
    fill_scalar_layer(table);
    fill_scalar_attention(table);
    fill_scalar_recurrent(table);
    fill_scalar_peak(table);
}
