# The one entry to everything. `make help` lists the targets.
#
# Sources are found by wildcard: a new file needs no line here. A file whose name ends in an instruction set
# (ranks_sse41.c, ranks_avx512.c) is compiled for it on x86-64 and must be an empty or portable unit elsewhere.
#
# Variables: CC, CFLAGS, CPPFLAGS (-I and -D, which the tests get too), LDFLAGS, B (the folder of what is built), WERROR=1 (warnings
# are errors), V=1 (print commands), SHARED=1 (the tools use the shared library), TEST_CC, FUZZ_CC, EMCC, ZSTD_SRC (a zstd source
# tree), FUZZ_SECONDS; PREFIX, DESTDIR and others for installing: native/packaging/build.mk. docs/building.md has a table of them.

MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.SECONDARY:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all

# Paths are of this folder.
ifeq ($(wildcard native/include/qstore.h),)
$(error make runs in the Makefile's own folder: call it as make -C $(patsubst %/,%,$(dir $(lastword $(MAKEFILE_LIST)))))
endif

# The Node and the npm that scripts/setup fetched, where the distribution's are too old.
export PATH := $(CURDIR)/build/npm/node_modules/.bin:$(CURDIR)/build/node/node_modules/.bin:$(PATH)

empty :=
space := $(empty) $(empty)
tab := $(empty)	$(empty)
comma := ,

B := build
ifeq ($(strip $(B)),)
$(error B, the folder of what is built, is empty: leave it out for "build")
endif
WERROR ?= 0
CFLAGS ?= -O3
FUZZ_SECONDS ?= 60
# $(call quote,TEXT): one word for the shell.
quote = '$(subst ','\'',$(1))'
# $(call say,WHAT) prints one short line in place of the command; nothing under make -s.
say = $(if $(V),,$(if $(findstring s,$(firstword -$(MAKEFLAGS))),@,@printf '  %-5s %s\n' $(1) $@ && ))

# ---- Sources -------------------------------------------------------------------------------------------------------

LIB_SRC := $(wildcard native/src/*.c native/src/*/*.c native/src/*/*/*.c)
CORE_SRC := $(wildcard native/src/core/*.c)
TOOL_SRC := $(wildcard native/cli/qstore-*.c)
CLI_SRC := $(filter-out $(TOOL_SRC),$(wildcard native/cli/*.c))
GEN_MAIN := $(wildcard tests/generate/qstore-*.c)
GEN_SRC := $(filter-out $(GEN_MAIN),$(wildcard tests/generate/*.c))
TEST_SRC := $(wildcard tests/native/test_*.c)
TEST_HELP_SRC := $(filter-out $(TEST_SRC),$(wildcard tests/native/*.c))
BENCH_MAIN := $(wildcard tests/bench/qstore-*.c)
BENCH_SRC := $(filter-out $(BENCH_MAIN),$(wildcard tests/bench/*.c))
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)

# The public libraries, in which only the names of qstore.h are visible, and one for the programs that use internal functions.
VERSION := $(shell sed -nE 's/^.define QSTORE_VERSION_TEXT "(.*)"/\1/p' native/include/qstore.h)
VERSION_NUMBERS := $(firstword $(subst -, ,$(VERSION)))
SONUMBER := $(firstword $(subst ., ,$(VERSION)))
LIB := $(B)/lib/libqstore.a
INTERNAL_LIB := $(B)/obj/libqstore.a
# qstore-mount needs libfuse3, and is left out where that is not there.
HAVE_FUSE := $(shell pkg-config --exists 'fuse3 >= 3.12' 2>/dev/null && echo 1)
MOUNT_SRC := $(wildcard native/cli/mount/*.c)
TOOLS := $(patsubst native/cli/%.c,$(B)/bin/%,$(if $(HAVE_FUSE),$(TOOL_SRC),$(filter-out %-mount.c,$(TOOL_SRC))))
GENERATE := $(GEN_MAIN:tests/generate/%.c=$(B)/bin/%)
BENCH := $(BENCH_MAIN:tests/bench/%.c=$(B)/bin/%)
TESTS := $(TEST_SRC:tests/native/%.c=$(B)/tests/%)
FUZZERS := $(FUZZ_SRC:tests/fuzz/%.c=$(B)/fuzz/bin/%)
# Tests that start threads: the pool, packing, restoring and verifying, bases, reading by several threads.
TSAN_TESTS := $(addprefix $(B)/tsan/bin/,test_pool test_archive test_restore test_pack_refused test_base test_access test_whole)
LINT_SRC := $(LIB_SRC) $(CLI_SRC) $(if $(HAVE_FUSE),$(TOOL_SRC) $(MOUNT_SRC),$(filter-out %-mount.c,$(TOOL_SRC))) $(GEN_SRC) $(GEN_MAIN) \
	$(TEST_SRC) $(TEST_HELP_SRC)

# ---- Flags ---------------------------------------------------------------------------------------------------------

PKGS := libarchive libzstd jansson libcrypto
# Asked when needed, once: `make help` and `make setup` work before anything is installed.
PKG_CFLAGS = $(eval PKG_CFLAGS := $$(shell pkg-config --cflags $(PKGS)))$(PKG_CFLAGS)
FUSE_LIBS = $(eval FUSE_LIBS := $$(shell pkg-config --libs fuse3 2>/dev/null))$(FUSE_LIBS)
ALL_FUSE_CFLAGS = $(eval ALL_FUSE_CFLAGS := $$(shell pkg-config --cflags fuse3 2>/dev/null))$(ALL_FUSE_CFLAGS)
PKG_LIBS = $(eval PKG_LIBS := $$(shell pkg-config --libs $(PKGS)) -lm)$(PKG_LIBS)
CLI_LIBS = $(eval CLI_LIBS := $$(shell pkg-config --libs jansson))$(CLI_LIBS)
CMOCKA_LIBS = $(eval CMOCKA_LIBS := $$(shell pkg-config --libs cmocka))$(CMOCKA_LIBS)

WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wvla $(if $(filter 1,$(WERROR)),-Werror)
# No fused multiply-add: restored values must be the same on every machine.
BASE := -std=c11 -Inative/include -Inative/src $(WARNINGS) -ffp-contract=off -D_FILE_OFFSET_BITS=64 -D_GNU_SOURCE -pthread
# The shared library's objects are the tools' too: on x86-64 they are the same, instruction for instruction, as those for a
# position-independent program, which compilers make by default. qstore.h makes its own names visible.
LIB_FLAGS := -fPIC -fvisibility=hidden
DEPS = -MMD -MP
THREAD_SANITIZE := -g -O1 -fno-omit-frame-pointer -fsanitize=thread
SANITIZE := -g -O1 -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
TEST_CC ?= $(CC)
FUZZ_CC ?= clang

# The machine that is compiled for, by CC, which may be a cross compiler.
MACHINE := $(shell $(CC) -dumpmachine 2>/dev/null)
X86_64 := $(filter x86_64% amd64%,$(MACHINE))
DARWIN := $(findstring darwin,$(MACHINE))
# The shared library's file, the names that link to it (of running and of linking), and what makes it one.
SHARED_LIB := $(B)/lib/libqstore$(if $(DARWIN),.$(VERSION_NUMBERS).dylib,.so.$(VERSION_NUMBERS))
SHARED_LINKS := $(if $(DARWIN),libqstore.$(SONUMBER).dylib libqstore.dylib,libqstore.so.$(SONUMBER) libqstore.so)
SHARED_FLAGS = $(if $(DARWIN),-dynamiclib -install_name $(LIBDIR)/$(firstword $(SHARED_LINKS)),-shared -Wl$(comma)-z$(comma)defs \
	-Wl$(comma)-soname$(comma)$(firstword $(SHARED_LINKS)))
isa_flags := sse41:-msse4.1,-mpopcnt avx2:-mavx2,-mbmi,-mbmi2,-mlzcnt,-mpopcnt \
	avx512:-mavx512f,-mavx512bw,-mavx512vl,-mavx512dq,-mavx512vbmi,-mavx512vbmi2,-mbmi,-mbmi2,-mlzcnt,-mpopcnt
# isa(source): the flags that its name asks for. Off x86-64, SIMDe's and arm_neon.h's lanes that wrap are sums and products of
# signed numbers in C, which must then be allowed to.
isa = $(if $(X86_64),$(foreach f,$(isa_flags),$(if $(filter %_$(firstword $(subst :, ,$(f))).c,$(1)), \
	$(subst $(comma), ,$(lastword $(subst :, ,$(f)))))),$(if $(filter %_sse41.c,$(1)),-fwrapv))

# 1 if the headers that the compiler finds give 128-bit kernels (native/src/core/simd.h), else 0.
HAVE_SIMD128 = $(eval HAVE_SIMD128 := $$(shell echo QS_HAVE_SIMD128 | \
	$$(CC) $$(BASE) $$(CPPFLAGS) $$(CFLAGS) -E -P -include core/simd.h -x c - 2>/dev/null | tail -n 1))$(HAVE_SIMD128)

# Files depend on build/flags/NAME, which has the flags by which they were built: it changes when the flags do, so that other
# flags than the last time, and headers that were installed since, count in a tree that is built already. -Werror does not count.
flags_obj = $(CC) $(BASE) $(CPPFLAGS) $(CFLAGS) $(LIB_FLAGS) $(PKG_CFLAGS) $(flags_of_machine)
flags_link = $(CC) $(CFLAGS) $(SHARED_FLAGS) $(LDFLAGS) $(PKG_LIBS) $(CLI_LIBS) $(AR) $(OBJCOPY)
flags_tools = SHARED=$(SHARED)
flags_mount = $(ALL_FUSE_CFLAGS) $(FUSE_LIBS)
flags_asan = $(TEST_CC) $(BASE) $(CPPFLAGS) $(SANITIZE) $(PKG_CFLAGS) $(flags_of_machine) $(LDFLAGS) $(CMOCKA_LIBS) $(PKG_LIBS)
flags_tsan = $(TEST_CC) $(BASE) $(CPPFLAGS) $(THREAD_SANITIZE) $(PKG_CFLAGS) $(flags_of_machine) $(LDFLAGS) $(CMOCKA_LIBS) $(PKG_LIBS)
flags_fuzz = $(FUZZ_CC) $(BASE) $(CPPFLAGS) $(SANITIZE) $(PKG_CFLAGS) $(flags_of_machine) $(LDFLAGS) $(PKG_LIBS)
flags_of_machine = $(MACHINE) $(isa_flags) SIMD128=$(HAVE_SIMD128)

# `make install` alone, which sudo often starts without the user's environment, copies what was built by whichever flags. Only
# variables of its own command line count.
FLAG_VARIABLES := CC CFLAGS CPPFLAGS LDFLAGS SHARED $(if $(DARWIN),PREFIX LIBDIR)
FLAGS_GIVEN := $(filter command,$(foreach v,$(FLAG_VARIABLES),$(origin $v)))
KEEP_FLAGS := $(if $(filter-out install,$(or $(MAKECMDGOALS),all))$(FLAGS_GIVEN),,1)

# Asked when a target needs the file: `make help` asks no pkg-config, and `make -n` finds out what has changed and writes nothing.
# (make 4.3 leaves the newline at a file's end in place, depending on the file's length; hence the second strip.)
flags_now = $(strip $(filter-out -Werror,$(flags_$(1))))
flags_changed = $(if $(KEEP_FLAGS),,$(subst =$(call flags_now,$(1))=,,=$(strip $(file <$(B)/flags/$(1)))=))
.PHONY: always
.SECONDEXPANSION:
$(addprefix $(B)/flags/,obj link tools mount asan tsan fuzz wasm): $(B)/flags/%: $$(if $$(call flags_changed,$$*),always)
	@mkdir -p $(@D)
	@printf '%s\n' $(call quote,$(call flags_now,$*)) >$@

# ---- Groups of targets ---------------------------------------------------------------------------------------------

.PHONY: all native tools lib wasm web site npm setup demo test check lint tsan bench bench-plot fuzz format clean help tests-build

all: native npm ## build the tools, the library, the WebAssembly modules and the npm package's files

native: lib tools docs $(GENERATE) ## only what needs no Emscripten and no Node; all that `make install` copies

lib: $(LIB) $(SHARED_LINKS:%=$(B)/lib/%) | note-simd

tools: $(TOOLS) | note-simd note-mount

# Each build says once what it lacks.
.PHONY: note-simd note-mount
note-simd:
	@[ "$(filter x86_64% amd64% aarch64% arm64%,$(MACHINE)),$(HAVE_SIMD128)" != "$(MACHINE),0" ] || \
		echo "note: SIMDe's headers (Debian: libsimde-dev, Fedora: simde-devel, Arch: simde) are not here," \
			"so this build has no 128-bit kernels and is slower" >&2

note-mount:
	@[ -n "$(HAVE_FUSE)$(DARWIN)" ] || \
		echo "note: libfuse3 3.12 or newer (Debian: libfuse3-dev, Fedora: fuse3-devel, Arch: fuse3) is not here," \
			"so qstore-mount is left out" >&2

setup: ## install what is needed (apt packages, npm modules); quick when all is there
	@scripts/setup

demo: ## set up, build, pack an example model, restore it natively and in Node, compare SHA-256
	@scripts/demo

test: ## set up, build and run all tests
	@scripts/setup --browsers
	@scripts/test all

check: ## build and run the fast tests, without set-up (under a minute when built)
	@scripts/test fast

lint: tsan $(LINT_SRC:%.c=$(B)/tidy/%.ok) $(B)/tidy/cppcheck.ok ## look for faults with the thread sanitizer, clang-tidy and cppcheck

tsan: $(TSAN_TESTS) ## run the tests of everything that has threads under the thread sanitizer
	@for t in $(TSAN_TESTS); do echo "  tsan  $$t" && CMOCKA_MESSAGE_OUTPUT=TAP $$t >$$t.log 2>&1 || { cat $$t.log; exit 1; }; done

# scripts/test calls it.
tests-build: native $(B)/bin/qstore-bound $(TESTS) $(if $(findstring linux,$(MACHINE)),$(B)/tests/faults.so $(if $(HAVE_FUSE),$(B)/tests/casefold_fs))

bench: native $(BENCH) npm ## print sizes against the bound, and speeds, native and WebAssembly
	@tests/bench/run

bench-plot: ## draw what the last `make bench` measured, into build/bench (or PLOTS)
	@node tests/bench/plot.mjs $(or $(BENCH_JSON),$(B)/bench/results.jsonl) $(or $(PLOTS),$(B)/bench)

fuzz: $(FUZZERS) ## run each fuzz target for FUZZ_SECONDS, from the seeds in tests/fuzz/corpus
	@for f in $(FUZZERS); do mkdir -p $(B)/fuzz/corpus/$${f##*/} || exit 1; \
		"$$f" -max_total_time=$(FUZZ_SECONDS) -verbosity=0 -print_final_stats=1 -artifact_prefix=$(B)/fuzz/ \
			$(B)/fuzz/corpus/$${f##*/} $(wildcard tests/fuzz/corpus)/$${f##*/} || exit 1; done

format: ## lay out the C sources with clang-format
	clang-format -i $(shell git ls-files --cached --others --exclude-standard '*.c' '*.h')

clean: ## remove all that was built; what was downloaded stays
	rm -rf $(filter-out $(B)/zstd $(B)/node $(B)/npm,$(wildcard $(B)/*)) dist

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(filter-out %.d,$(MAKEFILE_LIST))
	@echo "Variables (CC, CFLAGS, CPPFLAGS, SHARED, B, PREFIX, DESTDIR ...): docs/building.md"

# ---- Native --------------------------------------------------------------------------------------------------------

obj = $(patsubst %.c,$(B)/$(1)/%.o,$(2))

$(B)/obj/%.o: %.c $(B)/flags/obj
	@mkdir -p $(@D)
	$(call say,cc)$(CC) $(BASE) $(CPPFLAGS) $(CFLAGS) $(LIB_FLAGS) $(PKG_CFLAGS) $(FUSE_CFLAGS) $(call isa,$<) $(DEPS) -c -o $@ $<

# $(objects): the prerequisites that are linked or collected.
objects = $(filter %.o %.a,$^)

$(INTERNAL_LIB): $(call obj,obj,$(LIB_SRC)) $(B)/flags/link
	@rm -f $@
	$(call say,ar)$(AR) qcs $@ $(objects)

# Objects become one, in which hidden names are local. macOS's linker makes them so; elsewhere objcopy does. Objects for link-time
# optimisation cannot be treated so: then they stay apart, and hidden names global.
OBJCOPY ?= $(eval OBJCOPY := $$(shell $$(CC) -print-prog-name=objcopy))$(OBJCOPY)

$(LIB): $(call obj,obj,$(LIB_SRC)) $(B)/flags/link
	@mkdir -p $(@D)
	@rm -f $@
ifneq ($(findstring -flto,$(CFLAGS)),)
	$(call say,ar)$(AR) qcs $@ $(objects)
else
	$(call say,ar)$(CC) -nostdlib -r -o $(B)/obj/libqstore.o $(objects) \
		$(if $(DARWIN),,&& $(OBJCOPY) --localize-hidden $(B)/obj/libqstore.o) && $(AR) qcs $@ $(B)/obj/libqstore.o
endif

$(SHARED_LIB): $(call obj,obj,$(LIB_SRC)) $(B)/flags/link
	@mkdir -p $(@D)
	$(call say,link)$(CC) $(CFLAGS) -pthread $(SHARED_FLAGS) -o $@ $(objects) $(LDFLAGS) $(PKG_LIBS)

$(SHARED_LINKS:%=$(B)/lib/%): $(SHARED_LIB)
	@ln -sf $(<F) $@

# The tools carry the library, so that they run from anywhere; distributions say SHARED=1. They link its separate objects: the single
# object of $(LIB) would make each tool load all libraries (qstore-unpack: 19 instead of 5), which takes time and memory at every start.
TOOL_LIBS = $(if $(SHARED),-L$(B)/lib -lqstore $(LDFLAGS) $(CLI_LIBS),$(INTERNAL_LIB) $(LDFLAGS) $(PKG_LIBS))

$(B)/bin/qstore-%: $(B)/obj/native/cli/qstore-%.o $(call obj,obj,$(CLI_SRC)) \
		$(if $(SHARED),$(SHARED_LINKS:%=$(B)/lib/%),$(INTERNAL_LIB)) $(B)/flags/link $(B)/flags/tools
	@mkdir -p $(@D)
	$(call say,link)$(CC) $(CFLAGS) -pthread -o $@ $(filter %.o,$^) $(TOOL_LIBS) $(if $(filter %-mount,$@),$(FUSE_LIBS))

$(B)/bin/qstore-mount: $(call obj,obj,$(MOUNT_SRC)) $(B)/flags/mount
$(B)/obj/native/cli/qstore-mount.o: $(B)/flags/mount
# Prerequisites inherit it. It is no addition to PKG_CFLAGS, which replaces itself when it is first used.
$(B)/obj/native/cli/qstore-mount.o $(B)/tidy/native/cli/qstore-mount.ok: FUSE_CFLAGS = $(ALL_FUSE_CFLAGS)

$(GENERATE): $(B)/bin/%: $(B)/obj/tests/generate/%.o $(call obj,obj,$(GEN_SRC)) $(INTERNAL_LIB) $(B)/flags/link
	@mkdir -p $(@D)
	$(call say,link)$(CC) $(CFLAGS) -pthread -o $@ $(filter %.o,$^) $(INTERNAL_LIB) $(LDFLAGS) $(PKG_LIBS)

$(B)/obj/libbench.a: $(call obj,obj,$(BENCH_SRC) $(GEN_SRC))
	@mkdir -p $(@D)
	@rm -f $@
	$(call say,ar)$(AR) qcs $@ $^

$(BENCH): $(B)/bin/%: $(B)/obj/tests/bench/%.o $(B)/obj/libbench.a $(INTERNAL_LIB) $(B)/flags/link
	@mkdir -p $(@D)
	$(call say,link)$(CC) $(CFLAGS) -pthread -o $@ $(filter %.o,$^) $(B)/obj/libbench.a $(INTERNAL_LIB) $(LDFLAGS) $(PKG_LIBS) -llz4

# ---- Tests, under sanitizers ---------------------------------------------------------------------------------------

$(B)/asan/%.o: %.c $(B)/flags/asan
	@mkdir -p $(@D)
	$(call say,asan)$(TEST_CC) $(BASE) $(CPPFLAGS) $(SANITIZE) $(PKG_CFLAGS) $(FUSE_CFLAGS) $(call isa,$<) $(DEPS) -c -o $@ $<

# One archive, so that each test takes only what it uses: the library, the model generator, the tests' helpers.
$(B)/asan/libqstore.a: $(call obj,asan,$(LIB_SRC) $(GEN_SRC) $(TEST_HELP_SRC))
	@rm -f $@
	$(call say,ar)$(AR) qcs $@ $^

$(B)/tests/%: $(B)/asan/tests/native/%.o $(B)/asan/libqstore.a
	@mkdir -p $(@D)
	$(call say,link)$(TEST_CC) $(SANITIZE) -pthread -o $@ $^ $(LDFLAGS) $(CMOCKA_LIBS) $(PKG_LIBS)

# Preloaded, it makes calls to the system fail (tests/js/faults.test.mjs).
$(B)/tests/faults.so: tests/faults/faults.c $(B)/flags/obj
	@mkdir -p $(@D)
	$(call say,link)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O1 -fPIC -shared -o $@ $< -ldl

# Takes names for one that differ only in case (tests/js/both-tools.test.mjs).
$(B)/tests/casefold_fs: tests/faults/casefold_fs.c $(B)/flags/obj
	@mkdir -p $(@D)
	$(call say,link)$(CC) -std=c11 -D_GNU_SOURCE $(WARNINGS) -O1 $(ALL_FUSE_CFLAGS) -o $@ $< $(FUSE_LIBS)

$(B)/tsan/%.o: %.c $(B)/flags/tsan
	@mkdir -p $(@D)
	$(call say,tsan)$(TEST_CC) $(BASE) $(CPPFLAGS) $(THREAD_SANITIZE) $(PKG_CFLAGS) $(call isa,$<) $(DEPS) -c -o $@ $<

$(B)/tsan/libqstore.a: $(call obj,tsan,$(LIB_SRC) $(GEN_SRC) $(TEST_HELP_SRC))
	@rm -f $@
	$(call say,ar)$(AR) qcs $@ $^

$(TSAN_TESTS): $(B)/tsan/bin/%: $(B)/tsan/tests/native/%.o $(B)/tsan/libqstore.a
	@mkdir -p $(@D)
	$(call say,link)$(TEST_CC) $(THREAD_SANITIZE) -pthread -o $@ $^ $(LDFLAGS) $(CMOCKA_LIBS) $(PKG_LIBS)

# A file is looked at again when it, its headers (which the tests' object knows) or the configuration changes.
$(B)/tidy/%.ok: %.c .clang-tidy $(B)/asan/%.o
	@mkdir -p $(@D)
	$(call say,tidy)clang-tidy --quiet $< -- $(BASE) $(CPPFLAGS) $(PKG_CFLAGS) $(FUSE_CFLAGS) $(call isa,$<) \
		$(if $(filter tests/native/%,$<),-include tests/native/cmocka_lint.h) >$(@:.ok=.log) 2>&1 || { cat $(@:.ok=.log); exit 1; }
	@touch $@

$(B)/tidy/cppcheck.ok: $(LINT_SRC) scripts/cppcheck.txt
	@mkdir -p $(B)/tidy/cppcheck
	$(call say,check)cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability --inline-suppr \
		--suppressions-list=scripts/cppcheck.txt --cppcheck-build-dir=$(B)/tidy/cppcheck -D__x86_64__ -Inative/include -Inative/src \
		native/src native/cli tests/generate
	@touch $@

$(B)/fuzz/%.o: %.c $(B)/flags/fuzz
	@mkdir -p $(@D)
	$(call say,fuzz)$(FUZZ_CC) $(BASE) $(CPPFLAGS) $(SANITIZE) -fsanitize=fuzzer-no-link $(PKG_CFLAGS) $(call isa,$<) $(DEPS) -c -o $@ $<

$(B)/fuzz/bin/%: $(B)/fuzz/tests/fuzz/%.o $(call obj,fuzz,$(LIB_SRC))
	@mkdir -p $(@D)
	$(call say,link)$(FUZZ_CC) $(SANITIZE) -fsanitize=fuzzer -pthread -o $@ $^ $(LDFLAGS) $(PKG_LIBS)

# ---- Installing and publishing --------------------------------------------------------------------------------------

include native/packaging/build.mk

# ---- WebAssembly and the npm package -------------------------------------------------------------------------------

-include wasm/build.mk

# Node's modules are for development only: types are checked and made by TypeScript.
node_modules/.package-lock.json: package-lock.json | npm-modules
	@scripts/npm-modules
	@touch $@

# Only one npm at a time may write into node_modules; and what can do without it goes on when it fails.
.PHONY: npm-modules
npm-modules:
	-@scripts/npm-modules

dist/types/index.d.ts: $(wildcard js/*.js js/*/*.js js/*/*/*.js) js/status.js js/format/facts.js tsconfig.json package.json scripts/prune-types node_modules/.package-lock.json
	$(call say,types)rm -rf dist/types && node_modules/.bin/tsc -p tsconfig.json --noCheck && scripts/prune-types
	@touch $@

# So that `npx qstore-decode` runs this checkout's, whatever npm's version.
npm: wasm dist/types/index.d.ts dist/THIRD-PARTY.txt ## build only what the npm package has, into dist/: the modules and the types
	@mkdir -p node_modules/.bin
	@ln -sf ../../js/cli.js node_modules/.bin/qstore-decode

# ---- The demo page -------------------------------------------------------------------------------------------------

tests/browser/node_modules/@wllama/wllama/package.json: tests/browser/package-lock.json
	@scripts/npm-modules tests/browser
	@touch $@

site: npm tests/browser/node_modules/@wllama/wllama/package.json ## assemble the demo page as a static site, into build/web
	@node web/build.mjs $(B)/web

web: site ## serve the demo page on localhost (PORT, or 8080)
	@node web/serve.mjs --port $(or $(PORT),8080) $(B)/web

-include $(shell find $(B) -type f -name '*.d' 2>/dev/null)
