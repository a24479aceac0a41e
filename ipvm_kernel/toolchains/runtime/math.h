// The part of <math.h> that a cell has. Each function is pure arithmetic, the same to the bit on every machine.
#pragma once

#define NAN __builtin_nanf("")
#define INFINITY __builtin_inff()
#define isnan(x) __builtin_isnan(x)
#define isinf(x) __builtin_isinf(x)
#define isfinite(x) __builtin_isfinite(x)

double sqrt(double), fabs(double), floor(double), ceil(double), trunc(double), round(double);
double exp(double), exp2(double), log(double), log2(double), log10(double), sin(double), cos(double), tan(double);
double fmod(double, double), fmin(double, double), fmax(double, double), fma(double, double, double);

float sqrtf(float), fabsf(float), floorf(float), ceilf(float), truncf(float), roundf(float);
float expf(float), exp2f(float), logf(float), log2f(float), log10f(float), sinf(float), cosf(float), tanf(float);
float fmodf(float, float), fminf(float, float), fmaxf(float, float), fmaf(float, float, float);
