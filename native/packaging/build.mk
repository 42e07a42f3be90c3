# What is published: the installed files, Debian packages, the source tarball. Included by the Makefile.
#
# Variables: PREFIX and the folders below, which begin with / and have no spaces or characters that shells and pkg-config read as
# more than letters; DESTDIR (a folder that is used as / while a package is assembled; any name); RUN (an emulator for the tools,
# where CC is a cross compiler).

PREFIX ?= /usr/local
BINDIR ?= $(PREFIX)/bin
LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
BASH_COMPLETIONS ?= $(PREFIX)/share/bash-completion/completions
ZSH_COMPLETIONS ?= $(PREFIX)/share/zsh/site-functions
FISH_COMPLETIONS ?= $(PREFIX)/share/fish/vendor_completions.d
DESTDIR ?=
RUN ?=
INSTALL ?= install

INSTALL_FOLDERS := PREFIX BINDIR LIBDIR INCLUDEDIR MANDIR BASH_COMPLETIONS ZSH_COMPLETIONS FISH_COMPLETIONS
# Looked at before anything is built or written.
ifneq ($(filter install uninstall,$(MAKECMDGOALS)),)
hash := \#
not_in_folders := $(space) $(tab)
define check_folder
ifneq ($$(filter-out /%,$$(firstword $$($(1)))),)
$$(error $(1)=$$($(1)): give the whole path, from / on)
endif
ifneq ($$(findstring $$(space),$$($(1)))$$(findstring $$(tab),$$($(1)))$$(strip $$(foreach c,' " ` & | \ * ? < > ; ( ) [ ] { } $$$$ ! % ~ $$(hash),$$(findstring $$(c),$$($(1))))),)
$$(error $(1)=$$($(1)): spaces and these characters cannot be in it: ' " ` & | \ * ? < > ; ( ) [ ] { } $$$$ ! % ~ $$(hash))
endif
endef
$(foreach v,$(INSTALL_FOLDERS),$(eval $(call check_folder,$v)))
endif

# ---- Man pages and completions -------------------------------------------------------------------------------------

TOOL_NAMES := $(notdir $(TOOLS))
run_tool = LD_LIBRARY_PATH=$(B)/lib:$$LD_LIBRARY_PATH $(RUN)
DOCS := $(foreach t,$(TOOL_NAMES),$(B)/docs/$t.1 $(B)/docs/$t.bash $(B)/docs/_$t $(B)/docs/$t.fish)

docs: $(DOCS) ## make the man pages and completions, into build/docs

$(B)/docs/%.1: $(B)/bin/%
	@mkdir -p $(@D)
	$(call say,docs)$(run_tool) $< --docs man >$@

$(B)/docs/%.bash: $(B)/bin/%
	@mkdir -p $(@D)
	$(call say,docs)$(run_tool) $< --docs bash >$@

$(B)/docs/_%: $(B)/bin/%
	@mkdir -p $(@D)
	$(call say,docs)$(run_tool) $< --docs zsh >$@

$(B)/docs/%.fish: $(B)/bin/%
	@mkdir -p $(@D)
	$(call say,docs)$(run_tool) $< --docs fish >$@

# ---- Installing ----------------------------------------------------------------------------------------------------

# A folder as qstore.pc names it: below ${prefix} where it is, so that the file can be moved with its folder.
pc_folder = $(patsubst $(PREFIX)/%,$${prefix}/%,$(1))
# The name of an installed file or folder, for the shell.
to = $(call quote,$(DESTDIR)$(1))

# All is there after `make native`: then it only copies, and leaves nothing of root's in build/.
install: lib tools docs ## install the tools, the library, man pages and completions (PREFIX, DESTDIR, LIBDIR …)
	$(INSTALL) -d -m 755 $(foreach d,$(BINDIR) $(LIBDIR)/pkgconfig $(INCLUDEDIR) $(MANDIR)/man1 $(BASH_COMPLETIONS) \
		$(ZSH_COMPLETIONS) $(FISH_COMPLETIONS),$(call to,$d))
	$(INSTALL) -m 755 $(TOOLS) $(call to,$(BINDIR))
	$(INSTALL) -m 644 native/include/qstore.h $(call to,$(INCLUDEDIR))
	$(INSTALL) -m 644 $(LIB) $(SHARED_LIB) $(call to,$(LIBDIR))
	for link in $(SHARED_LINKS); do ln -sf $(notdir $(SHARED_LIB)) $(call to,$(LIBDIR))/$$link || exit 1; done
	rm -f $(call to,$(PC_FILE))
	sed -e 's|@PREFIX@|$(PREFIX)|; s|@LIBDIR@|$(call pc_folder,$(LIBDIR))|; s|@INCLUDEDIR@|$(call pc_folder,$(INCLUDEDIR))|' \
		-e 's|@VERSION@|$(VERSION)|; s|@REQUIRES@|$(PKGS)|' native/packaging/qstore.pc.in >$(call to,$(PC_FILE))
	chmod 644 $(call to,$(PC_FILE))
	$(INSTALL) -m 644 $(TOOL_NAMES:%=$(B)/docs/%.1) $(call to,$(MANDIR)/man1)
	for tool in $(TOOL_NAMES); do \
		$(INSTALL) -m 644 $(B)/docs/$$tool.bash $(call to,$(BASH_COMPLETIONS))/$$tool || exit 1; done
	$(INSTALL) -m 644 $(TOOL_NAMES:%=$(B)/docs/_%) $(call to,$(ZSH_COMPLETIONS))
	$(INSTALL) -m 644 $(TOOL_NAMES:%=$(B)/docs/%.fish) $(call to,$(FISH_COMPLETIONS))
	@[ -n $(call quote,$(DESTDIR)) ] || ldconfig 2>/dev/null || true

PC_FILE = $(LIBDIR)/pkgconfig/qstore.pc

# Also qstore-mount, which this machine may not be able to build any more.
uninstall: TOOL_NAMES := $(TOOL_SRC:native/cli/%.c=%)
uninstall: ## remove the files that `make install` with the same variables installed
	rm -f $(foreach f,$(TOOL_NAMES:%=$(BINDIR)/%) $(INCLUDEDIR)/qstore.h $(LIBDIR)/$(notdir $(LIB)) $(LIBDIR)/$(notdir $(SHARED_LIB)) \
		$(SHARED_LINKS:%=$(LIBDIR)/%) $(PC_FILE) $(TOOL_NAMES:%=$(MANDIR)/man1/%.1) \
		$(TOOL_NAMES:%=$(BASH_COMPLETIONS)/%) $(TOOL_NAMES:%=$(ZSH_COMPLETIONS)/_%) $(TOOL_NAMES:%=$(FISH_COMPLETIONS)/%.fish), \
		$(call to,$f))

# ---- Tarballs and packages -----------------------------------------------------------------------------------------

SOURCE_TARBALL := $(B)/qstore-$(VERSION).tar.gz

COMMIT ?= HEAD

# Files have the commit's time, so that the tarball of a commit always has the same bytes.
$(SOURCE_TARBALL): FORCE
	@git rev-parse --quiet --verify $(COMMIT) >/dev/null || { echo "the source tarball is made of a commit in a git checkout" >&2; exit 1; }
	@[ $(COMMIT) != HEAD ] || git diff --quiet HEAD || echo "note: changes that are not committed are not in $@" >&2
	@mkdir -p $(@D)
	$(call say,tar)git archive --format=tar --prefix=qstore-$(VERSION)/ $(COMMIT) | gzip -9n >$@

source: $(SOURCE_TARBALL) ## make only the source tarball, of the last commit (COMMIT)

dist: npm source ## make the tarballs to publish, into build: the source, and the npm package
	@npm pack --ignore-scripts --loglevel=error --pack-destination $(B) >/dev/null

deb: $(SOURCE_TARBALL) ## make Debian packages of the source tarball, into build/deb (DEBFULLNAME and DEBEMAIL: the maintainer)
	@native/packaging/make-deb $(SOURCE_TARBALL) $(B)/deb

.PHONY: docs install uninstall source dist deb FORCE
