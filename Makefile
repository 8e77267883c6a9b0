# One line for each task; `make help` lists them. Tests need root, for namespaces are entered for real.

CARGO ?= cargo
# Tests bring up container runtimes; more of them at once than this only makes them wait for the processor.
TEST_THREADS ?= 2
# Programs under test are sent these and inherit how they are taken: a shell's `&`, or nohup, ignores some.
SIGNALS := env --default-signal=HUP,INT,QUIT,TERM
TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/nsdebug/tools
DENY := $(TOOLS)/bin/cargo-deny
# Those of one list of versions are in one folder, which another list does not touch.
LINTERS := $(TOOLS)/linters-$(shell sha256sum tests/linters.txt | cut -c 1-16)
# By their first line, so that none is forgotten.
SCRIPTS = $(shell git ls-files --cached --others --exclude-standard -- ':!*.rs' | xargs awk 'FNR == 1 && ($(1)) { print FILENAME } { nextfile }')
PYTHON_SCRIPTS = $(call SCRIPTS,/^\#!.*python3/ || FILENAME ~ /[.]py$$/)
SHELL_SCRIPTS = $(call SCRIPTS,/^\#!.*sh$$/)

# The whole workspace at a time: crates built alone would build their dependencies again.
ALL := --workspace --locked

# What is released has no loader to run and nothing to relocate at its start, which is most of what a session of a
# few milliseconds would wait for; see docs/performance.md. `--target` keeps the flags from the compiler's own plug-ins.
HOST := $(shell rustc -vV | sed -n 's/^host: //p')

# On x86-64 glibc before 2.39 copies with `rep movsb`, which AMD's Zen 3 and 4 do 25 times as slowly where it ends up to
# 31 bytes behind where it begins, within a page (its bug 30994): of a large session's processor time, a tenth.
COMMA := ,
COPY := $(if $(filter x86_64-%-gnu,$(HOST)),-C link-arg=-Wl$(COMMA)--defsym=memcpy=__memcpy_sse2_unaligned)
build bench bench-cluster: export CARGO_TARGET_$(shell echo $(HOST) | tr a-z- A-Z_)_RUSTFLAGS := -C target-feature=+crt-static -C relocation-model=static $(COPY)

# Tests and measurements are of these programs, however they are compiled themselves.
PROGRAMS := target/release
node-tests e2e bench bench-cluster: export NSDEBUG_PROGRAMS := $(CURDIR)/$(PROGRAMS)

# What is not run by `cargo test` alone: see tests/Cargo.toml.
E2E := $(addprefix --test ,chart cluster cluster_access cluster_chart cluster_faults cluster_other_containerd cluster_plugin runbooks)

.DEFAULT_GOAL := help
.PHONY: help prerequisites cluster-prerequisites build demo cluster cluster-down test node-tests toolboxes e2e one quick check scripts bench bench-cluster image manifests lint clean

help: ## list these tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-22s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

prerequisites: ## install what tests and demo need and this machine lacks
	@tests/prerequisites

cluster-prerequisites: prerequisites ## build the programs of a one-node Kubernetes, once, into a cache
	@tests/prerequisites --cluster

build: ## build the programs into target/release
	$(CARGO) build $(ALL) --bins --profile dist --target $(HOST)
	@mkdir -p $(PROGRAMS) && cp -u $(addprefix target/$(HOST)/dist/,nsdebug-agent nsdebug-gateway kubectl-nsdebug cluster demo) $(PROGRAMS)/

demo: prerequisites build ## show it: tools a container does not have, inside a real container
	@target/release/demo

cluster: cluster-prerequisites image ## start a one-node Kubernetes on this machine, apart from it, with nsdebug installed
	@target/release/cluster up target/cluster

cluster-down: ## end that Kubernetes and leave nothing of it
	@target/release/cluster down target/cluster

test: node-tests e2e ## run all tests, with the programs as they are released

node-tests: prerequisites build toolboxes ## run the tests that need a node and no Kubernetes
	image/test.py
	$(SIGNALS) $(CARGO) test $(ALL) --no-fail-fast -- --test-threads $(TEST_THREADS)

e2e: cluster-prerequisites image ## run the tests on a real Kubernetes, on both containerds
	CI=$${CI:-e2e} $(SIGNALS) $(CARGO) test $(ALL) --no-fail-fast $(E2E) -- --test-threads $(TEST_THREADS)

toolboxes: prerequisites
	@[ -d target/toolbox-gdb/usr ] || image/build.py toolbox toolbox-gdb --toolbox-only

one: ## run one test as `make test` does, and build what it takes: T=local::NAME, T=agent::NAME; DEBUG=1 builds sooner
	@MAKE='$(MAKE)' CARGO='$(CARGO)' tests/one $(if $(DEBUG),--debug) --cluster '$(E2E)' -- '$(T)'

quick: ## format, lints and unit tests of one crate, and nothing built for the others: C=entry
	@[ -f '$(C)/Cargo.toml' ] || { echo "make quick: say which crate, as in C=entry" >&2; exit 1; }
	$(CARGO) fmt --check --manifest-path $(C)/Cargo.toml
	$(CARGO) clippy --locked --manifest-path $(C)/Cargo.toml --all-targets -- -D warnings
	$(if $(filter tests,$(C)),$(CARGO) clippy --locked --manifest-path $(C)/Cargo.toml $(E2E) -- -D warnings)
	$(SIGNALS) $(CARGO) test --locked --manifest-path $(C)/Cargo.toml $(if $(wildcard $(C)/src/lib.rs),--lib) --bins $(if $(filter tests,$(C)),--test tidy)

check: ## format, lints, all tests that need no root, links in comments; no root and nothing installed
	$(CARGO) fmt --all --check
	$(CARGO) clippy $(ALL) --all-targets -- -D warnings
	$(CARGO) clippy $(ALL) $(E2E) -- -D warnings # `--all-targets` leaves them out, and they it
	$(SIGNALS) $(CARGO) test $(ALL) --lib --bins --test tidy --test golden --test program --test listeners
	RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' $(CARGO) doc $(ALL) --no-deps --document-private-items
	charts/readme --check

bench: prerequisites build ## how fast it is, against what one would do without it; ONLY=footprint, commands, confined or copies
	$(CARGO) bench $(ALL) --bench ratios --target $(HOST) -- $(ONLY)

bench-cluster: cluster-prerequisites image target/kubectl ## how fast it is through Kubernetes, against kubectl; ONLY=commands, streams, footprint, crowd or fleet
	$(CARGO) bench $(ALL) --bench cluster --target $(HOST) -- $(ONLY)

# kubectl as it is released: alone, it starts faster than as one of the cluster's programs in one.
KUBERNETES := tests/cluster/programs/kubernetes
target/kubectl: $(KUBERNETES)/go.mod
	cd $(KUBERNETES) && PATH="$$PATH:/usr/local/go/bin" CGO_ENABLED=0 GOWORK=off go build -buildvcs=false -ldflags '-s -w' -o $(CURDIR)/$@ k8s.io/kubernetes/cmd/kubectl

image: build target/image/nsdebug-agent.tar target/image/nsdebug-gateway.tar ## make the tool tree in target/toolbox and OCI archives in target/image

# Only when what is in them has changed: the tree takes half a minute and a mirror.
IMAGE := $(wildcard image/*)
target/image/nsdebug-agent.tar: $(IMAGE) target/release/nsdebug-agent
	image/build.py toolbox --programs target/release

target/image/nsdebug-gateway.tar: $(IMAGE) target/release/nsdebug-gateway target/release/kubectl-nsdebug
	image/build.py gateway --programs target/release

target/release/%: build ;

manifests: cluster-prerequisites build ## render manifests/install.yaml from the chart, and the chart's README from its values
	charts/readme
	target/release/cluster manifest manifests/install.yaml

scripts: $(LINTERS)/.complete ## lint and type-check the Python and shell scripts
	$(LINTERS)/bin/ruff check $(PYTHON_SCRIPTS)
	$(LINTERS)/bin/mypy $(PYTHON_SCRIPTS)
	$(LINTERS)/bin/shellcheck $(SHELL_SCRIPTS)
	$(LINTERS)/bin/python image/spdx_test.py

lint: check scripts $(DENY) ## check, the scripts, and the licences, sources and versions of all dependencies
	$(DENY) --workspace check bans licenses sources

# The mark comes last: what was cut short is made again.
$(LINTERS)/.complete:
	rm -rf $(@D)
	python3 -m venv $(@D)
	$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --requirement tests/linters.txt
	touch $@

$(DENY):
	$(CARGO) install cargo-deny --version 0.20.2 --locked --root $(TOOLS)

clean: ## remove everything that was built
	$(CARGO) clean
