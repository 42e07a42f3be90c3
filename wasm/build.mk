# The WebAssembly modules: dist/qstore.wasm (128-bit SIMD) and dist/qstore-scalar.wasm, from one source. Included by the Makefile.

EMCC ?= emcc

# The functions that js/wasm/decoder.js calls.
WASM_EXPORTS := qs_version qs_heap qs_workspace_size qs_workspace_init qs_header qs_body qs_chunk qs_blocks qs_words qs_words_transposed qs_interleaved qs_interleaved_columns \
	qs_has_f32 qs_to_f32 qs_xxh3 qs_zstd

WASM_CFLAGS := -std=c11 -O3 -ffp-contract=off $(WARNINGS) -D_GNU_SOURCE -DXXH_VECTOR=XXH_SCALAR -Inative/include -Inative/src -I$(B)/include
# zstd has the workspace that it is given, and no other memory.
ZSTD_CFLAGS := -O3 -DZSTD_DISABLE_ASM -DZSTD_LEGACY_SUPPORT=0 -DZSTD_TRACE=0 -DZSTD_STRIP_ERROR_STRINGS=1 \
	-DZSTDLIB_VISIBLE= -DDEBUGLEVEL=0 \
	-DZSTD_DEPS_MALLOC '-DZSTD_malloc(size)=NULL' '-DZSTD_calloc(count,size)=NULL' '-DZSTD_free(p)=(void)(p)'
# A bare module: no JavaScript from Emscripten, no imports, no allocator: the caller lays out the memory. Stack: the core keeps its tables in the
# workspace that it is given; below the data, so that an overflow traps instead of overwriting.
WASM_LDFLAGS := -O3 --no-entry -sSTANDALONE_WASM=1 -sALLOW_MEMORY_GROWTH=1 -sMALLOC=none -sFILESYSTEM=0 \
	-sTOTAL_STACK=131072 -sINITIAL_MEMORY=2097152 -Wl,--stack-first

# Sources by the shell and not by wildcard: Emscripten's compiler runs once for each module, over the files in one go.
WASM_SRC := wasm/abi.c $(CORE_SRC)
ZSTD_SRC ?=
export ZSTD_SRC
ZSTD_DIR := $(B)/zstd

wasm_exported = -sEXPORTED_FUNCTIONS=$(subst $(space),$(comma),$(addprefix _,$(strip $(WASM_EXPORTS))))

flags_wasm = $(EMCC) $(WASM_CFLAGS) $(wasm_simd) $(wasm_scalar) $(ZSTD_CFLAGS) $(WASM_LDFLAGS) $(WASM_EXPORTS)

wasm: $(foreach m,dist/qstore.wasm dist/qstore-scalar.wasm,$m $m.js) ## build only the WebAssembly modules

# A module as text that js/wasm/module.js imports, and that file's type.
dist/%.wasm.js: dist/%.wasm
	@{ printf 'export default "'; base64 <$< | tr -d '\n'; printf '";\n'; } >$@
	@printf 'declare const base64: string;\nexport default base64;\n' >$(@:.js=.d.ts)

# zstd's decoder: a copy of what is in npm's zstd-napi, in the distribution's source package or in ZSTD_SRC. Asked each time, and
# made again only when it comes from elsewhere. npm may fail here: then it is the source package's turn.
$(ZSTD_DIR)/.origin: always | $(if $(ZSTD_SRC),,npm-modules)
	@command -v $(EMCC) >/dev/null || { echo "$(EMCC) (Emscripten) is not here: make setup installs it" >&2; exit 1; }
	@scripts/fetch-zstd $(ZSTD_DIR)

# xxhash.h and the zstd.h of that source, and nothing else of the machine's headers. xxHash 0.8.3 includes arm_neon.h for WebAssembly's
# SIMD, which lacks files of its own in Debian 13's Emscripten; its scalar code needs none of it.
$(B)/include/.made: $(ZSTD_DIR)/.origin wasm/build.mk
	@mkdir -p $(@D)
	@cp $(ZSTD_DIR)/lib/zstd.h $(ZSTD_DIR)/lib/zstd_errors.h $(@D)/
	@cp "$$(pkg-config --variable=includedir libxxhash)/xxhash.h" $(@D)/
	@: >$(@D)/arm_neon.h
	@touch $@

$(B)/wasm/%/zstd.a: $(ZSTD_DIR)/.origin $(B)/flags/wasm
	@mkdir -p $(@D)/zstd
	@rm -f $@ $(@D)/zstd/*.o
	$(call say,emcc)cd $(@D)/zstd && for f in $(abspath $(ZSTD_DIR))/lib/common/*.c $(abspath $(ZSTD_DIR))/lib/decompress/*.c; do \
		$(EMCC) $(ZSTD_CFLAGS) $(wasm_$*) -c "$$f" || exit 1; done
	@emar rcs $@ $(@D)/zstd/*.o

# Every engine with SIMD copies memory by an instruction, too.
wasm_simd := -msimd128 -mbulk-memory
# The other is for engines that may have none of WebAssembly's later instructions.
wasm_scalar := -mno-sign-ext -mno-bulk-memory -mno-nontrapping-fptoint

# The target's own object files are prerequisites by name, so that make compiles only what changed.
define wasm_module
$(B)/wasm/$(1)/obj/%.o: %.c $(B)/include/.made $(B)/flags/wasm
	@mkdir -p $$(@D)
	$$(call say,emcc)$$(EMCC) $$(WASM_CFLAGS) $$(wasm_$(1)) -MMD -MP -c -o $$@ $$<

$(2): $(WASM_SRC:%.c=$(B)/wasm/$(1)/obj/%.o) $(B)/wasm/$(1)/zstd.a $(B)/flags/wasm
	@mkdir -p $$(@D)
	$$(call say,emcc)$$(EMCC) $$(WASM_LDFLAGS) $$(wasm_$(1)) $$(wasm_exported) -o $$@ $$(objects)
endef

$(eval $(call wasm_module,simd,dist/qstore.wasm))
$(eval $(call wasm_module,scalar,dist/qstore-scalar.wasm))

# The licences of what is compiled in: zstd, xxHash, and the C library.
dist/THIRD-PARTY.txt: $(B)/include/.made wasm/build.mk
	@mkdir -p $(@D)
	@{ printf '==== zstd ====\n\n'; cat $(ZSTD_DIR)/LICENSE; \
		printf '\n==== xxHash ====\n\n'; sed -n '1,/\*\//p' $(B)/include/xxhash.h; \
		printf '\n==== musl (Emscripten) ====\n\nmusl is Copyright (C) 2005-2020 Rich Felker, et al.; MIT licence.\n'; } >$@

# ---- Generated files of js/ -------------------------------------------------------------------------------------------

js/status.js js/format/facts.js &: native/src/core/status.h native/src/core/facts.h scripts/generate-js
	@scripts/generate-js
	@touch js/status.js js/format/facts.js
