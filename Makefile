# The project's commands. `make demo` and `make test` install or build what they need.

.PHONY: help demo test soak older-nodes memcheck bench matrix build install dist deb deb-test package-test reproducible fmt clippy doc deny check clean

help:
	@echo 'make demo            three uWSGI nodes on this machine, and what happens when servers die'
	@echo 'make test            all tests, in real uWSGIs'
	@echo 'make soak            ten thousand takeovers in one process (two minutes)'
	@echo 'make memcheck        the tests with every uWSGI under valgrind (ten minutes)'
	@echo 'make bench           measures beside curl, and writes BENCHMARKS.md'
	@echo 'make build           the plugin for any uWSGI 2.0.x: target/dist/hetzner_plugin.so'
	@echo 'make install         installs it where uwsgi looks for plugins, or in PLUGINDIR (below DESTDIR), and its manual page in MANDIR'
	@echo 'make dist            an archive in target/dist, identical for everyone who builds this commit'
	@echo 'make deb             a Debian package in target/dist; make deb-test tries it out, as root'
	@echo 'make package-test    tries out what make install and make dist do, in a temporary directory'
	@echo 'make reproducible    checks that two builds of the last commit give the same file'
	@echo 'make matrix          all tests of the archive in every uWSGI from 2.0.1 on (ten minutes)'
	@echo 'make older-nodes OLDER=REVISION   one legion with nodes that run an older version'
	@echo 'make check           format, lints and documentation: must be clean before a commit'
	@echo 'make deny            licences, sources and advisories of all dependencies'

demo:
	@tests/demo.sh

test:
	@tests/setup.sh test
	@tests/setup.sh headers
	@tests/build-plugin.sh
	@tests/run.sh

soak:
	@tests/setup.sh test
	@tests/build-plugin.sh
	@SOAK=10000 tests/run.sh --test uwsgi soak_

older-nodes:
	@tests/older-nodes.sh

memcheck:
	@tests/memcheck.sh

# BENCH holds options: make bench BENCH="--legions 2"
bench:
	@tests/bench.sh $(BENCH)

build:
	@packaging/build.sh

install:
	@DESTDIR='$(DESTDIR)' PLUGINDIR='$(PLUGINDIR)' MANDIR='$(MANDIR)' UWSGI='$(UWSGI)' packaging/install.sh

dist:
	@packaging/dist.sh

deb:
	@packaging/deb.sh

deb-test:
	@tests/deb.sh

package-test:
	@tests/packaging.sh

reproducible:
	@tests/reproducible.sh

matrix: dist
	@tests/matrix.sh

check: fmt clippy doc

fmt:
	cargo fmt --all --check
	cargo fmt --manifest-path fuzz/Cargo.toml --check

clippy:
	cargo clippy --workspace --all-targets --locked -- -D warnings
	@# Fuzz targets are outside of the workspace; libFuzzer, which is not linked here, needs no compiler.
	CUSTOM_LIBFUZZER_PATH=/none/libfuzzer.a cargo clippy --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --locked --quiet -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --document-private-items --quiet

# DENY says what to check: make deny DENY="licenses bans sources" without what has to be fetched
deny:
	@command -v cargo-deny >/dev/null || \
		{ echo 'make deny needs cargo-deny, which was not found: cargo install --locked cargo-deny' >&2; exit 1; }
	cargo deny --locked check $(DENY)
	cargo deny --config fuzz/deny.toml --manifest-path fuzz/Cargo.toml --locked check $(DENY)

clean:
	cargo clean
