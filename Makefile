# The project's commands. `make demo` and `make test` install or build what they need.

.PHONY: help demo test soak nemesis nemesis-mutants older-nodes memcheck arm64 fresh installs mock bench lab matrix build install dist deb sbom deb-test package-test reproducible fmt clippy doc deny check clean

help:
	@echo 'make demo            show a failover between three uWSGI nodes on this machine (a minute);'
	@echo '                     of a Floating IP with CLOUD=1'
	@echo 'make test            run all tests in real uWSGIs'
	@echo 'make soak            run ten thousand takeovers in one process (two minutes)'
	@echo 'make nemesis         put random faults on legions of real nodes (ROUNDS=8 NODES=3 SEED=1 JOBS=8);'
	@echo '                     SERVICE=robot, floating, alias or all'
	@echo 'make nemesis-mutants show that these faults find what is broken on purpose (an hour at most)'
	@echo 'make memcheck        run the tests with each uWSGI under valgrind (ten minutes)'
	@echo 'make bench           compare the plugin with curl and write BENCHMARKS.md'
	@echo 'make lab             measure the outage that a client sees, as root, and write docs/outage.md (four minutes)'
	@echo 'make build           build the plugin for any uWSGI 2.0.x: target/dist/hetzner_plugin.so'
	@echo 'make install         install it where uwsgi looks for plugins, or in PLUGINDIR, and its manual page in MANDIR (below DESTDIR)'
	@echo 'make dist            build an archive in target/dist, identical for everyone who builds this commit'
	@echo 'make deb             build a Debian package in target/dist'
	@echo 'make sbom            write a software bill of materials in target/dist'
	@echo 'make deb-test        install, run, upgrade and remove that package on this system, as root'
	@echo 'make package-test    test make install and make dist in a temporary directory'
	@echo 'make reproducible    check that two builds of the last commit give the same file'
	@echo 'make mock            start the mock Robot, and fill in /etc/uwsgi-failover for a legion of one that uses it'
	@echo 'make fresh           run the five commands of docs/deployment.md and the package test in a new Debian 13, as root (five minutes)'
	@echo 'make installs        test the plugin in the uWSGIs of Debian 12 and 13 and of pip, as root (ten minutes)'
	@echo 'make arm64           build archive and package for arm64, and test them under qemu-user, as root (five minutes)'
	@echo 'make matrix          run the tests with the plugin of make dist in uWSGI 2.0.1 to 2.0.31 (ten minutes)'
	@echo 'make older-nodes OLDER=REVISION'
	@echo '                     test legions in which some nodes run the plugin of that revision'
	@echo 'make check           check format, lints and documentation; must pass before a commit'
	@echo 'make deny            check licences, sources and advisories of all dependencies'

demo:
	@CLOUD='$(CLOUD)' tests/demo.sh

test:
	@tests/setup.sh test
	@tests/setup.sh headers
	@tests/run.sh

soak:
	@tests/setup.sh test
	@SOAK=10000 tests/run.sh --test uwsgi soak_

# The same seed makes the same steps again: make nemesis SERVICE=alias ROUNDS=1 NODES=5 SEED=17
ROUNDS = 8
NODES = 3
SEED = 1
SERVICE = robot
JOBS = 8
nemesis:
	@tests/nemesis.sh $(ROUNDS) $(NODES) $(SEED) $(SERVICE) $(JOBS)

nemesis-mutants:
	@NODES=$(NODES) SEED=$(SEED) tests/nemesis-mutants.sh

older-nodes:
	@tests/older-nodes.sh

memcheck:
	@tests/memcheck.sh

arm64:
	@tests/arm64.sh

fresh:
	@tests/fresh.sh

installs:
	@tests/installs.sh

mock:
	@tests/mock.sh

# BENCH contains options: make bench BENCH="--legions 2"
bench:
	@tests/bench.sh $(BENCH)

lab:
	@tests/lab.sh

build:
	@packaging/build.sh

install:
	@DESTDIR='$(DESTDIR)' PLUGINDIR='$(PLUGINDIR)' MANDIR='$(MANDIR)' UWSGI='$(UWSGI)' packaging/install.sh

dist:
	@packaging/dist.sh

deb:
	@packaging/deb.sh

sbom:
	@packaging/sbom.sh

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
	@# The fuzz targets are not in the workspace. The path keeps libFuzzer from being compiled, because
	@# clippy does not link it.
	CUSTOM_LIBFUZZER_PATH=/none/libfuzzer.a cargo clippy --manifest-path fuzz/Cargo.toml --target-dir target/fuzz --locked --quiet -- -D warnings

doc:
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked --document-private-items --quiet

# DENY limits the checks: make deny DENY="licenses bans sources" needs no database of advisories
deny:
	@command -v cargo-deny >/dev/null || \
		{ echo 'cargo-deny was not found; install it: cargo install --locked cargo-deny' >&2; exit 1; }
	cargo deny --locked check $(DENY)
	cargo deny --config fuzz/deny.toml --manifest-path fuzz/Cargo.toml --locked check $(DENY)

clean:
	cargo clean
