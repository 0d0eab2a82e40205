# SPDX-License-Identifier: MIT
#
# Drives everything; user-space objects go to build/ (build-$(SAN)/ under a
# sanitizer).  Sources are found by folder: a new file in a folder that is
# listed below is built without touching this file.
#
#   make run      the main job on real input        make check   every test without a GPU
#   make lib      libvgpu only                      make bench [BENCH=name]
#   make unit     one folder of tests/: also kernels, selftests, fault; SAN=address or thread
#   make check-vm the module, in a VM               make run-vm   the main job there, through vbd
#   make modules  the module, for the running kernel or KDIR=; modules_install, dkms_install
#   make install DESTDIR= PREFIX=

SHELL := /bin/bash
CC ?= gcc
CC := $(if $(filter default,$(origin CC)),gcc,$(CC))
CLANG ?= clang-14
PREFIX ?= /usr/local
LIBDIR ?= $(PREFIX)/lib
SAN ?=
Q := $(if $(V),,@)

VERSION := 0.1.0
SOVERSION := 1
B := build$(if $(SAN),-$(SAN))

san_flags := $(if $(filter address,$(SAN)),-fsanitize=address -fsanitize=undefined -fno-sanitize-recover=all,$(if $(SAN),-fsanitize=$(SAN)))
opt_flags := $(if $(SAN),-O1 -fno-omit-frame-pointer,-O2)

WARN := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wvla -Werror \
	-Wno-maybe-uninitialized # guesses; the sanitizers look for real ones
CPPFLAGS += -Iinclude/uapi -Iinclude -Ilibvgpu -Ikmod -D_GNU_SOURCE -DVGPU_VERSION='"$(VERSION)"'
CFLAGS += -std=gnu11 -g $(opt_flags) -ffp-contract=off $(WARN) $(san_flags) -pthread -fvisibility=hidden
LDFLAGS += $(san_flags) -pthread
LIBS := -luring -lnuma -ljson-c -lm -ldl

lib_src := $(wildcard kmod/core/*.c libvgpu/*.c libvgpu/exec/*.c libvgpu/kernels/*.c \
	$(addprefix libvgpu/kernels/,ref/*.c avx2/*.c avx512/*.c amx/*.c pack/*.c formats/*.c))
lib_obj := $(lib_src:%.c=$B/%.o)

# An ISA folder is the only place where its flags apply.
$B/libvgpu/kernels/%.o: opt_flags := $(if $(SAN),$(opt_flags),-O3)
$B/libvgpu/kernels/avx2/%.o: CFLAGS += -mavx2 -mfma -mf16c -mbmi2
avx512_flags := -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512bf16 \
	-mavx512vbmi -mfma -mf16c -mbmi2 -mprefer-vector-width=512
$B/libvgpu/kernels/avx512/%.o: CFLAGS += $(avx512_flags)
$B/libvgpu/kernels/amx/%.o: CFLAGS += $(avx512_flags) -mamx-tile -mamx-bf16 -mamx-int8
# The reference is the definition of correct: no reassociation, plain C.
$B/libvgpu/kernels/ref/%.o: CFLAGS += -fno-tree-vectorize

.PHONY: all lib tools tests benches clean
all: lib tools
lib: $B/libvgpu.a $B/libvgpu.so

$B/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CC      $<')
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -fPIC -MMD -MP -c $< -o $@

$B/libvgpu.a: $(lib_obj)
	@rm -f $@
	@$(if $(V),,echo '  AR      $@')
	$(Q)ar rcs $@ $^

$B/libvgpu.so: $(lib_obj) libvgpu/libvgpu.map
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CC) $(LDFLAGS) -shared -Wl,-soname,libvgpu.so.$(SOVERSION) \
		-Wl,--version-script=libvgpu/libvgpu.map -o $@.$(VERSION) $(lib_obj) $(LIBS)
	$(Q)ln -sf libvgpu.so.$(VERSION) $B/libvgpu.so.$(SOVERSION)
	$(Q)ln -sf libvgpu.so.$(SOVERSION) $@

# A folder of tools/ with a main.c is a program; tools/common belongs to all.
vbd_libs := -lseccomp
tool_names := $(patsubst tools/%/main.c,%,$(wildcard tools/*/main.c))
define tool_rule
$1_obj := $$(patsubst %.c,$B/%.o,$$(wildcard tools/$1/*.c tools/common/*.c))
$B/$1: $$($1_obj) $B/libvgpu.a
	@echo '  LD      $$@'
	$$(Q)$$(CC) $$(LDFLAGS) -o $$@ $$($1_obj) $B/libvgpu.a $$($1_libs) -lutf8proc $$(LIBS)
endef
$(foreach t,$(tool_names),$(eval $(call tool_rule,$t)))
tools: $(addprefix $B/,$(tool_names))

# One cmocka program a file; KTAP-like output comes from tests/run.sh.
unit_src := $(wildcard tests/unit/*_test.c tests/kernels/*_test.c)
selftest_src := $(wildcard tests/selftests/*_test.c)
fault_src := $(wildcard tests/fault/*_test.c)
test_bin := $(patsubst %.c,$B/%,$(unit_src) $(selftest_src) $(fault_src))
tests: $(test_bin)

test_common := $(wildcard tests/common/*.c)
# Objects of the tools that unit tests reach into (tokenizer and the like).
# An archive: a test gets only what it names.
tool_parts := $B/vbrun.a
$(tool_parts): $(patsubst %.c,$B/%.o,$(filter-out %/main.c,$(wildcard tools/vbrun/*.c tools/vbd/*.c tools/common/*.c)))
	@rm -f $@
	@$(if $(V),,echo '  AR      $@')
	$(Q)ar rcs $@ $^
$(test_bin): $B/%: $B/%.o $(test_common:%.c=$B/%.o) $(tool_parts) $B/libvgpu.a
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CC) $(LDFLAGS) -o $@ $< $(test_common:%.c=$B/%.o) $(tool_parts) $B/libvgpu.a -lcmocka -lutf8proc -lseccomp $(LIBS)
$B/tools/%.o $B/tests/%.o $B/bench/%.o: CPPFLAGS += -Itools -Itests -DTEST_DATA='"$(CURDIR)/tests/unit/data"'

# The file system that the fault tests mount lies beside them.
$B/tests/fault/fuse_faulty.o: CPPFLAGS += $(shell pkg-config --cflags fuse3)
$B/tests/fault/fuse_faulty: $B/tests/fault/fuse_faulty.o
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CC) $(LDFLAGS) -o $@ $< -lfuse3
$B/tests/fault/io_fuse_test $B/tests/fault/exec_fuse_test: | $B/tests/fault/fuse_faulty

# make unit, make SAN=address selftests: one folder of tests/.
suites := unit kernels selftests fault
.PHONY: $(suites)
define suite_rule
$1: $$(patsubst %.c,$B/%,$$(wildcard tests/$1/*_test.c))
	@LOGS=$B/test-logs tests/run.sh $$^
endef
$(foreach s,$(suites),$(eval $(call suite_rule,$s)))

# libFuzzer needs clang; each target links what parses untrusted bytes, built by clang
# too.  Not the kernels, over which clang takes minutes under a sanitizer: their fuzzer has
# the library's, and what it draws guards its memory itself.
fuzz_src := $(wildcard tests/fuzz/*_fuzz.c)
FZ := build-fuzz
fz_obj := $(patsubst %.c,$(FZ)/%.o,$(wildcard kmod/core/*.c libvgpu/kernels/formats/*.c \
	libvgpu/kernels/pack/int4_layer.c tests/fuzz/int4_source.c \
	libvgpu/exec/trace.c libvgpu/exec/keymap.c libvgpu/exec/policy*.c))
fuzz: $(patsubst %.c,$(FZ)/%,$(fuzz_src))
$(FZ)/%.o: %.c
	@mkdir -p $(@D)
	@$(if $(V),,echo '  CLANG   $<')
	$(Q)$(CLANG) $(CPPFLAGS) -std=gnu11 -g -O1 -ffp-contract=off -fsanitize=fuzzer-no-link,address,undefined \
		-fno-sanitize-recover=all -pthread -MMD -MP -c $< -o $@
$(FZ)/tests/fuzz/%_fuzz: $(FZ)/tests/fuzz/%_fuzz.o $(fz_obj)
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ $(LIBS)

$(FZ)/tests/fuzz/kernels_fuzz: $(FZ)/tests/fuzz/kernels_fuzz.o \
		$(patsubst %.c,build/%.o,$(wildcard tests/common/*_draw.c) tests/common/guarded.c) build/libvgpu.a
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ -lcmocka $(LIBS)

# The tokenizer is the tools', and reads through the library's checkpoint.
$(FZ)/tests/fuzz/spm_fuzz: $(FZ)/tests/fuzz/spm_fuzz.o $(fz_obj) $(FZ)/libvgpu/checkpoint.o \
		$(patsubst %,$(FZ)/tools/vbrun/%.o,spm fail gguf_image)
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CLANG) -fsanitize=fuzzer,address,undefined -pthread -o $@ $^ -lutf8proc $(LIBS)
$(FZ)/tests/%.o $(FZ)/tools/%.o: CPPFLAGS += -Itests -Itools

bench_src := $(wildcard bench/*.c)
bench_bin := $(patsubst %.c,$B/%,$(bench_src))
# Of the tests' common parts benchmarks share one: the others need cmocka.
$(bench_bin): $B/%: $B/%.o $B/tests/common/bench_util.o $B/libvgpu.a
	@$(if $(V),,echo '  LD      $@')
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(LIBS)

# Whom products, attention and mixtures of experts are compared with.
$B/bench/matmul: $B/bench/peers/blas.o $B/bench/peers/onednn.o $B/bench/peers/ggml.o
$B/bench/transposed: $B/bench/peers/blas.o
$B/bench/attention $B/bench/moe: $B/bench/peers/ggml.o

benches: $(bench_bin)

clean:
	rm -rf build build-address build-thread build-fuzz

-include $(shell find build* -name '*.d' 2>/dev/null)

# ---- what people call ----------------------------------------------------

.PHONY: run check check-all bench install deps-run deps-bench fuzz
deps-run:
	@tools/deps.sh run
deps-bench:
	@tools/deps.sh bench

run: deps-run
	@$(MAKE) --no-print-directory -j$$(nproc) tools
	@tools/run.sh

# It asks for packages itself, after its first result.
check:
	@tests/check.sh

# What is too long for CI: hours. Each part writes a page with its result. PARTS=: some of them.
check-all:
	@tests/check-all.sh $(PARTS)

# BENCH=name runs one; the table goes to the terminal, a JSON object a line to
# build/bench.jsonl. Fails when a benchmark is beyond a limit of its own, after all ran.
BENCH ?= $(notdir $(basename $(bench_src)))
bench: deps-bench
	@$(MAKE) --no-print-directory -j$$(nproc) tools $(BENCH:%=$B/bench/%)
	@mkdir -p $B
	@rc=0; for b in $(BENCH); do BENCH_JSONL=$B/bench.jsonl $B/bench/$$b || rc=1; done; exit $$rc

install: lib tools
	install -d "$(DESTDIR)$(LIBDIR)/pkgconfig" "$(DESTDIR)$(PREFIX)/include/linux" "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 $B/libvgpu.so.$(VERSION) "$(DESTDIR)$(LIBDIR)/"
	ln -sf libvgpu.so.$(VERSION) "$(DESTDIR)$(LIBDIR)/libvgpu.so.$(SOVERSION)"
	ln -sf libvgpu.so.$(SOVERSION) "$(DESTDIR)$(LIBDIR)/libvgpu.so"
	install -m 644 $B/libvgpu.a "$(DESTDIR)$(LIBDIR)/"
	install -m 644 libvgpu/vgpu.h "$(DESTDIR)$(PREFIX)/include/"
	install -m 644 include/uapi/linux/vblackwell.h "$(DESTDIR)$(PREFIX)/include/linux/"
	sed 's,@PREFIX@,$(PREFIX),; s,@LIBDIR@,$(LIBDIR),; s,@VERSION@,$(VERSION),' \
		libvgpu/vgpu.pc.in > "$(DESTDIR)$(LIBDIR)/pkgconfig/vgpu.pc"
	install -m 755 $(addprefix $B/,$(tool_names)) "$(DESTDIR)$(PREFIX)/bin/"
	@# The loader finds what is new in /usr/local/lib through its cache alone.
	@[ -n "$(DESTDIR)" ] || [ $$(id -u) -ne 0 ] || PATH="$$PATH:/sbin:/usr/sbin" ldconfig

# The module: make modules [KDIR=...], modules_install, dkms_install
include kmod/Makefile.modules

# Tests that need a kernel of their own: make check-vm [KERNELS="6.1 6.12"]
include tests/vm/Makefile.vm
