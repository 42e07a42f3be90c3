/* The facts of the format, each in one table: types of elements, kinds of objects and files, layouts, rules,
 * modes of chunks and types of symbol blocks, with their properties. The preprocessor makes C's enums, tables
 * and accessors from these lists; scripts/generate-js makes js/format/facts.js. FORMAT.md has their meaning.
 *
 * No other file compares rules by the order of their numbers, or lists the rules that share a property: it
 * asks the functions here. Only arithmetic depends on single rules, in rules.h, cells.c and cell_fields.c.
 *
 * To add a rule:
 * 1. a row at the end of QS_RULE_LIST, and one in FORMAT.md, 3.4; then run scripts/generate-js;
 * 2. its cells: from a value to a code in rules.h, a BUILD_CASE in cells.c, and, if it is worth it, a kernel
 *    for short runs in cell_fields.c; for types of blocks how these are split and joined, in layout.c;
 * 3. its encoder: the packer tries it on codes that may be its own (pack/match);
 * 4. its test: the reference arithmetic in tests/native/test_cells.c and in tests/reference/decode.mjs, which
 *    is written from FORMAT.md alone and shares nothing with this file. */
#ifndef QS_FACTS_H
#define QS_FACTS_H

#include <stdint.h>

#include "check.h"

/* clang-format off */

/* Types whose elements are stored one by one: name, number, bits of an element, name that safetensors
 * uses. */
#define QS_DTYPE_LIST(X)                                                                                     \
	X(BYTES,    0,  8, "bytes")                                                                              \
	X(BOOL,     1,  8, "BOOL")                                                                               \
	X(U8,       2,  8, "U8")                                                                                 \
	X(I8,       3,  8, "I8")                                                                                 \
	X(F8_E4M3,  4,  8, "F8_E4M3")                                                                            \
	X(F8_E5M2,  5,  8, "F8_E5M2")                                                                            \
	X(U16,      6, 16, "U16")                                                                                \
	X(I16,      7, 16, "I16")                                                                                \
	X(F16,      8, 16, "F16")                                                                                \
	X(BF16,     9, 16, "BF16")                                                                               \
	X(U32,     10, 32, "U32")                                                                                \
	X(I32,     11, 32, "I32")                                                                                \
	X(F32,     12, 32, "F32")                                                                                \
	X(U64,     13, 64, "U64")                                                                                \
	X(I64,     14, 64, "I64")                                                                                \
	X(F64,     15, 64, "F64")                                                                                \
	X(C64,     16, 64, "C64")                                                                                \
	X(F8_E8M0, 17,  8, "F8_E8M0")

/* Types whose elements are stored in blocks (ggml's quantized ones): name, number, elements and bytes of a
 * block, name that ggml uses (ggml-common.h; gguf-py, constants.py). Only tensors and layouts have them. */
#define QS_BLOCK_TYPE_LIST(X)                                                                                \
	X(Q4_0,    18,  32,  18, "Q4_0")                                                                         \
	X(Q4_1,    19,  32,  20, "Q4_1")                                                                         \
	X(Q5_0,    20,  32,  22, "Q5_0")                                                                         \
	X(Q5_1,    21,  32,  24, "Q5_1")                                                                         \
	X(Q8_0,    22,  32,  34, "Q8_0")                                                                         \
	X(Q8_1,    23,  32,  36, "Q8_1")                                                                         \
	X(Q2_K,    24, 256,  84, "Q2_K")                                                                         \
	X(Q3_K,    25, 256, 110, "Q3_K")                                                                         \
	X(Q4_K,    26, 256, 144, "Q4_K")                                                                         \
	X(Q5_K,    27, 256, 176, "Q5_K")                                                                         \
	X(Q6_K,    28, 256, 210, "Q6_K")                                                                         \
	X(Q8_K,    29, 256, 292, "Q8_K")                                                                         \
	X(IQ2_XXS, 30, 256,  66, "IQ2_XXS")                                                                      \
	X(IQ2_XS,  31, 256,  74, "IQ2_XS")                                                                       \
	X(IQ3_XXS, 32, 256,  98, "IQ3_XXS")                                                                      \
	X(IQ1_S,   33, 256,  50, "IQ1_S")                                                                        \
	X(IQ4_NL,  34,  32,  18, "IQ4_NL")                                                                       \
	X(IQ3_S,   35, 256, 110, "IQ3_S")                                                                        \
	X(IQ2_S,   36, 256,  82, "IQ2_S")                                                                        \
	X(IQ4_XS,  37, 256, 136, "IQ4_XS")                                                                       \
	X(IQ1_M,   38, 256,  56, "IQ1_M")                                                                        \
	X(TQ1_0,   39, 256,  54, "TQ1_0")                                                                        \
	X(TQ2_0,   40, 256,  66, "TQ2_0")                                                                        \
	X(MXFP4,   41,  32,  17, "MXFP4")                                                                        \
	X(U4,      42,   2,   1, "U4")                                                                           \
	X(I4,      43,   2,   1, "I4")

/* Kinds of objects: name, number, whether they have chunks of their own, name that users see. PLAIN: elements
 * on their own. CODES: I8 or U8 codes of a matrix, on their own or given coarser codes. REFINE: F16 or BF16
 * elements, given their codes. DELTA: floats, given coarser values of the same elements. LAYOUT: the bytes of
 * a format that packs codes, or keeps them together with their scales. BASE: elements of a file of another
 * model, the base. */
#define QS_KIND_LIST(X)                                                                                      \
	X(PLAIN,  0, 1, "plain")                                                                                 \
	X(CODES,  1, 1, "codes")                                                                                 \
	X(REFINE, 2, 1, "refine")                                                                                \
	X(DELTA,  3, 1, "delta")                                                                                 \
	X(LAYOUT, 4, 0, "codes")                                                                                 \
	X(BASE,   5, 0, "base")

/* Kinds of files: name, number, whether the file is a member of the archive, name that users see. STORED:
 * verbatim. ZSTD: one zstd frame. ASSEMBLED: extents of objects. BASE: a file of another model, which is not
 * in the archive. */
#define QS_FILE_KIND_LIST(X)                                                                                 \
	X(STORED,    0, 1, "stored")                                                                             \
	X(ZSTD,      1, 1, "zstd")                                                                               \
	X(ASSEMBLED, 2, 0, "assembled")                                                                          \
	X(BASE,      3, 0, "base")

/* Layouts (FORMAT.md, 2.3): name, number, whether words (or floats) come column by column of the codes'
 * matrix, whether the codes of a word are in AWQ's order of nibbles. BLOCKS: ggml's blocks, of codes and
 * scales. PACKED: words of codes that are neighbours in a row. TRANSPOSED: the words of PACKED, column by
 * column; or floats, column by column. INTERLEAVED: the words of PACKED, with their codes in AWQ's order.
 * INTERLEAVED_COLUMNS: words of eight codes that are neighbours in a column. JOINED: the rows of two matrices,
 * side by side. */
#define QS_LAYOUT_LIST(X)                                                                                    \
	X(BLOCKS,              1, 0, 0)                                                                          \
	X(PACKED,              2, 0, 0)                                                                          \
	X(TRANSPOSED,          3, 1, 0)                                                                          \
	X(INTERLEAVED,         4, 0, 1)                                                                          \
	X(INTERLEAVED_COLUMNS, 5, 1, 1)                                                                          \
	X(JOINED,              6, 0, 0)

/* Modes of chunks (FORMAT.md, 3): name, number, the chunks that may have it, name that users see. ALL;
 * BYTE_CODES: dtype I8 or U8; BYTES: that dtype; FLOATS: dtype F16, BF16 or F32; REFINE, DELTA, CODES: that
 * kind of object. */
#define QS_MODE_LIST(X)                                                                                      \
	X(RAW,     0, ALL,        "raw")                                                                         \
	X(ZSTD,    1, ALL,        "zstd")                                                                        \
	X(PLANES,  2, ALL,        "planes")                                                                      \
	X(CODES,   3, BYTE_CODES, "codes")                                                                       \
	X(RANKS,   4, REFINE,     "ranks")                                                                       \
	X(DELTA,   5, DELTA,      "delta")                                                                       \
	X(RECODED, 6, CODES,      "recoded")                                                                     \
	X(RECORDS, 7, BYTES,      "records")                                                                     \
	X(CENTRED, 8, BYTE_CODES, "centred")                                                                     \
	X(PEAKS,   9, BYTE_CODES, "peaks")                                                                       \
	X(FOLDED, 10, BYTE_CODES, "folded")                                                                      \
	X(COLUMNS, 11, FLOATS,    "columns")

/* Types of symbol blocks (FORMAT.md, 3.1): name, number, name that users see. */
#define QS_SYMBOLS_LIST(X)                                                                                   \
	X(RAW,      0, "raw")                                                                                    \
	X(CONSTANT, 1, "constant")                                                                               \
	X(HUFFMAN,  2, "huffman")                                                                                \
	X(ZSTD,     3, "zstd")                                                                                   \
	X(SPARSE,   4, "sparse")                                                                                 \
	X(ANS,      5, "ans")

/* How the scales of a rule are stored: name, number, bytes of a record (0: they are floats), scales of a
 * record.
 * FLOAT: F32, F16 or BF16. F16: as in ggml's blocks. PAIR: F16 scale and offset. K: ggml's Q4_K and Q5_K, F16
 * d and dmin, and eight scales and mins of 6 bits. K_SIGNED: ggml's Q6_K, sixteen signed bytes and F16 d. */
#define QS_SCALES_LIST(X)                                                                                    \
	X(FLOAT,    0,  0,  1)                                                                                   \
	X(F16,      1,  0,  1)                                                                                   \
	X(PAIR,     2,  4,  1)                                                                                   \
	X(K,        3, 16,  8)                                                                                   \
	X(K_SIGNED, 4, 18, 16)

/* The arithmetic that made codes from values (FORMAT.md, 3.4). Columns:
 *  1 name, 2 number, 3 name that users see;
 *  4 family: SYMMETRIC, whose cells are the same for both signs; BLOCK, ggml's of 4 to 6 bits; SUM, which
 *    adds the zero point before it rounds;
 *  5 rounding: EVEN (half to even), AWAY (half away from zero), DOWN;
 *  6 precision: SINGLE; CAST (values are cast to FP16 first); HALF (each result is rounded to the values'
 *    type);
 *  7 levels: codes are below this number; 256: all bytes are codes;
 *  8 zero: the zero point that the rule itself has; 0 if the grid has it, or an offset in its place;
 *  9 group: columns that share a scale; 0: any number;
 * 10 scales: how they are stored, of QS_SCALES_LIST;
 * 11 block: ggml's type whose blocks hold such codes; BYTES: none;
 * 12 absmax: 1 if a scale is the greatest magnitude of its group, 0 if it is the distance of codes;
 * 13 free: 1 if codes outside of ggml's blocks may have groups of any size, and F32 scales;
 * 14 either: 1 if a scale may be negative, which flips the signs of the values;
 * 15 shifts: NONE; FACTOR (of a run's factor, in ulps); SCALE (of the value that its scale was made from);
 * 16 factors: 1 if values may be multiplied by factors of their columns first. */
#define QS_RULE_LIST(X)                                                                                      \
	X(NONE,        0, "none",            SYMMETRIC, EVEN, SINGLE, 256,  0,  0, FLOAT,    BYTES, 0, 0, 0, NONE,   0) \
	X(LLM_INT8,    1, "llm.int8",        SYMMETRIC, EVEN, CAST,   256,  0,  0, FLOAT,    BYTES, 1, 0, 0, FACTOR, 1) \
	X(MULTIPLY,    2, "multiply",        SYMMETRIC, EVEN, SINGLE, 256,  0,  0, FLOAT,    BYTES, 0, 0, 0, FACTOR, 1) \
	X(DIVIDE,      3, "divide",          SYMMETRIC, EVEN, SINGLE, 256,  0,  0, FLOAT,    BYTES, 0, 0, 0, FACTOR, 1) \
	X(DIVIDE_HALF, 4, "divide-half",     SYMMETRIC, EVEN, HALF,   256,  0,  0, FLOAT,    BYTES, 0, 0, 0, FACTOR, 1) \
	X(Q8_0,        5, "q8_0",            SYMMETRIC, AWAY, SINGLE, 256,  0, 32, FLOAT,    Q8_0,  1, 0, 0, FACTOR, 0) \
	X(Q8_0_D,      6, "q8_0 (stored d)", SYMMETRIC, AWAY, SINGLE, 256,  0, 32, F16,      Q8_0,  0, 0, 0, FACTOR, 0) \
	X(Q4_0,        7, "q4_0",            BLOCK,     DOWN, SINGLE,  16,  8, 32, F16,      Q4_0,  0, 1, 1, NONE,   0) \
	X(Q5_0,        8, "q5_0",            BLOCK,     DOWN, SINGLE,  32, 16, 32, F16,      Q5_0,  0, 0, 1, NONE,   0) \
	X(Q4_1,        9, "q4_1",            BLOCK,     DOWN, SINGLE,  16,  0, 32, PAIR,     Q4_1,  0, 0, 0, SCALE,  0) \
	X(Q5_1,       10, "q5_1",            BLOCK,     DOWN, SINGLE,  32,  0, 32, PAIR,     Q5_1,  0, 0, 0, SCALE,  0) \
	X(Q4_K,       11, "q4_k",            BLOCK,     EVEN, SINGLE,  16,  0, 32, K,        Q4_K,  0, 0, 0, NONE,   0) \
	X(Q5_K,       12, "q5_k",            BLOCK,     EVEN, SINGLE,  32,  0, 32, K,        Q5_K,  0, 0, 0, NONE,   0) \
	X(Q6_K,       13, "q6_k",            BLOCK,     EVEN, SINGLE,  64, 32, 16, K_SIGNED, Q6_K,  0, 0, 1, NONE,   0) \
	X(ADD_HALF,   14, "add-half",        SUM,       EVEN, HALF,   256,  0,  0, FLOAT,    BYTES, 0, 0, 0, NONE,   0) \
	X(ADD_HALF_4, 15, "add-half-4",      SUM,       EVEN, HALF,    16,  0,  0, FLOAT,    BYTES, 0, 0, 0, NONE,   0) \
	X(ADD,        16, "add",             SUM,       EVEN, SINGLE, 256,  0,  0, FLOAT,    BYTES, 0, 0, 0, NONE,   0) \
	X(ADD_4,      17, "add-4",           SUM,       EVEN, SINGLE,  16,  0,  0, FLOAT,    BYTES, 0, 0, 0, NONE,   0)

typedef enum qs_dtype {
#define QS_DTYPE_ENUM(name, number, ...) QS_##name = number,
	QS_DTYPE_LIST(QS_DTYPE_ENUM)
	QS_BLOCK_TYPE_LIST(QS_DTYPE_ENUM)
#undef QS_DTYPE_ENUM
	QS_DTYPE_COUNT
} qs_dtype;

enum {
#define QS_KIND_ENUM(name, number, ...) QS_KIND_##name = number,
	QS_KIND_LIST(QS_KIND_ENUM)
#undef QS_KIND_ENUM
	QS_KIND_COUNT
};

enum {
#define QS_FILE_ENUM(name, number, ...) QS_FILE_##name = number,
	QS_FILE_KIND_LIST(QS_FILE_ENUM)
#undef QS_FILE_ENUM
	QS_FILE_KIND_COUNT
};

enum {
#define QS_LAYOUT_ENUM(name, number, ...) QS_LAYOUT_##name = number,
	QS_LAYOUT_LIST(QS_LAYOUT_ENUM)
#undef QS_LAYOUT_ENUM
	QS_LAYOUT_COUNT
};

enum {
#define QS_MODE_ENUM(name, number, ...) QS_MODE_##name = number,
	QS_MODE_LIST(QS_MODE_ENUM)
#undef QS_MODE_ENUM
	QS_MODE_COUNT
};

enum {
#define QS_SYMBOLS_ENUM(name, number, ...) QS_SYMBOLS_##name = number,
	QS_SYMBOLS_LIST(QS_SYMBOLS_ENUM)
#undef QS_SYMBOLS_ENUM
	QS_SYMBOLS_COUNT
};

enum {
#define QS_SCALES_ENUM(name, number, bytes, scales)                                                          \
	QS_SCALES_##name = number, QS_RECORD_SIZE_##name = bytes, QS_RECORD_SCALES_##name = scales,
	QS_SCALES_LIST(QS_SCALES_ENUM)
#undef QS_SCALES_ENUM
};

enum {
#define QS_RULE_ENUM(name, number, ...) QS_RULE_##name = number,
	QS_RULE_LIST(QS_RULE_ENUM)
#undef QS_RULE_ENUM
	QS_RULE_COUNT
};

enum { QS_FAMILY_SYMMETRIC, QS_FAMILY_BLOCK, QS_FAMILY_SUM };
enum { QS_ROUNDING_EVEN, QS_ROUNDING_AWAY, QS_ROUNDING_DOWN };
enum { QS_PRECISION_SINGLE, QS_PRECISION_CAST, QS_PRECISION_HALF };
enum { QS_SHIFTS_NONE, QS_SHIFTS_FACTOR, QS_SHIFTS_SCALE };

typedef struct qs_rule_facts {
	uint16_t levels;
	uint8_t family, rounding, precision, zero, group, scales, record_size, record_scales, block, has_absmax,
	    is_free, has_either_sign, shifts, takes_factors;
} qs_rule_facts;

/* The table is in a header, so that compilers know the properties of a rule that is a constant. */
static const qs_rule_facts qs_rule_table[QS_RULE_COUNT] = {
#define QS_RULE_ROW(name, number, text, family_, rounding_, precision_, levels_, zero_, group_, scales_,     \
                    block_, absmax, free, either, shifts_, factors)                                          \
	[number] = {.levels = levels_, .family = QS_FAMILY_##family_, .rounding = QS_ROUNDING_##rounding_,       \
	            .precision = QS_PRECISION_##precision_, .zero = zero_, .group = group_,                      \
	            .scales = QS_SCALES_##scales_, .record_size = QS_RECORD_SIZE_##scales_,                      \
	            .record_scales = QS_RECORD_SCALES_##scales_, .block = QS_##block_, .has_absmax = absmax,     \
	            .is_free = free, .has_either_sign = either, .shifts = QS_SHIFTS_##shifts_,                   \
	            .takes_factors = factors},
	QS_RULE_LIST(QS_RULE_ROW)
#undef QS_RULE_ROW
};

/* clang-format on */

/* ---- Types of elements ---- */

const char *qs_dtype_name(uint32_t dtype);     /* NULL when unknown */
uint32_t qs_dtype_size(uint32_t dtype);        /* bytes of one element, 0 when unknown or in blocks */
uint32_t qs_dtype_from_name(const char *name); /* QS_DTYPE_COUNT when unknown */

/* Return the elements and the bytes of a block of this type. For a type without blocks that is one element
 * and its size; 0 if the type is unknown. */
uint32_t qs_block_elems(uint32_t dtype);
uint32_t qs_block_size(uint32_t dtype);

/* Is this a type of floats that quantizers take? Their scales have these types too. */
static inline int qs_dtype_is_float(uint32_t dtype)
{
	return dtype == QS_F32 || dtype == QS_F16 || dtype == QS_BF16;
}

/* Is this a type that scales can have where they are no records? */
static inline int qs_dtype_is_scale(uint32_t dtype)
{
	return qs_dtype_is_float(dtype) || dtype == QS_F64;
}

/* Is this a type that codes can have? */
static inline int qs_dtype_is_codes(uint32_t dtype)
{
	return dtype == QS_I8 || dtype == QS_U8;
}

/* ---- Kinds, layouts and modes ---- */

const char *qs_kind_name(uint32_t kind); /* as users see it */
int qs_kind_has_chunks(uint32_t kind);
const char *qs_file_kind_name(uint32_t kind);
int qs_file_kind_is_member(uint32_t kind);
int qs_layout_is_by_columns(uint32_t layout);
int qs_layout_is_interleaved(uint32_t layout);
const char *qs_mode_name(uint32_t mode);    /* NULL when unknown */
const char *qs_symbols_name(uint32_t type); /* of a type of symbol blocks; NULL when unknown */

/* May a chunk of an object of this kind and dtype have this mode? */
int qs_mode_applies(uint32_t mode, uint32_t kind, uint32_t dtype);

/* Placed before each function whose arithmetic depends on the rule by a switch with a default. A rule that is
 * added to the table does not compile until all these places were looked at and say the new number. */
#define QS_RULES_ARE(count)                                                                                  \
	_Static_assert(QS_RULE_COUNT == (count), "the next function needs a case for the new rule")

/* ---- Rules; these functions take one below QS_RULE_COUNT ---- */

const char *qs_rule_name(uint32_t rule); /* as users see it; NULL for NONE */

/* Returns the rule whose scales are those in ggml's blocks of this type; NONE if no rule models such
 * blocks. */
uint32_t qs_rule_of_block(uint32_t dtype);

static inline const qs_rule_facts *qs_rule(uint32_t rule)
{
	QS_ASSERT(rule < QS_RULE_COUNT);
	return &qs_rule_table[rule];
}

/* Are the cells the same for both signs of a value, counted from the zero point? */
static inline int qs_rule_is_symmetric(uint32_t rule)
{
	return qs_rule(rule)->family == QS_FAMILY_SYMMETRIC;
}

static inline int qs_rule_adds_zero(uint32_t rule)
{
	return qs_rule(rule)->family == QS_FAMILY_SUM;
}

static inline int qs_rule_rounds_away(uint32_t rule)
{
	return qs_rule(rule)->rounding == QS_ROUNDING_AWAY;
}

static inline int qs_rule_rounds_down(uint32_t rule)
{
	return qs_rule(rule)->rounding == QS_ROUNDING_DOWN;
}

/* Are values cast to FP16 before anything else? */
static inline int qs_rule_casts(uint32_t rule)
{
	return qs_rule(rule)->precision == QS_PRECISION_CAST;
}

/* Are quotients and sums rounded to the values' type? */
static inline int qs_rule_is_half(uint32_t rule)
{
	return qs_rule(rule)->precision == QS_PRECISION_HALF;
}

static inline uint32_t qs_rule_levels(uint32_t rule)
{
	return qs_rule(rule)->levels;
}

static inline uint32_t qs_rule_zero(uint32_t rule)
{
	return qs_rule(rule)->zero;
}

static inline uint32_t qs_rule_group(uint32_t rule)
{
	return qs_rule(rule)->group;
}

static inline uint32_t qs_rule_scales(uint32_t rule)
{
	return qs_rule(rule)->scales;
}

/* Returns the bytes of a record of scales; 0 if scales are floats. */
static inline uint32_t qs_rule_record_size(uint32_t rule)
{
	return qs_rule(rule)->record_size;
}

/* Returns the number of scales of a record; 1 if scales are floats. */
static inline uint32_t qs_rule_record_scales(uint32_t rule)
{
	return qs_rule(rule)->record_scales;
}

static inline uint32_t qs_rule_block(uint32_t rule)
{
	return qs_rule(rule)->block;
}

static inline int qs_rule_has_absmax(uint32_t rule)
{
	return qs_rule(rule)->has_absmax;
}

static inline int qs_rule_is_free(uint32_t rule)
{
	return qs_rule(rule)->is_free;
}

static inline int qs_rule_has_either_sign(uint32_t rule)
{
	return qs_rule(rule)->has_either_sign;
}

static inline int qs_rule_takes_shifts(uint32_t rule)
{
	return qs_rule(rule)->shifts != QS_SHIFTS_NONE;
}

static inline int qs_rule_shifts_scale(uint32_t rule)
{
	return qs_rule(rule)->shifts == QS_SHIFTS_SCALE;
}

static inline int qs_rule_takes_factors(uint32_t rule)
{
	return qs_rule(rule)->takes_factors;
}

#endif
