# The parts that cargo does.

export CARGO_TERM_COLOR=never

part_fmt() { check "cargo fmt --check" cargo fmt --all --check; }

# Clippy's own compiler lints what the tests need while it compiles, so that the library is checked and compiled
# at once. `cargo clippy`, for people, gives the same lints and compiles nothing that runs.
if command -v clippy-driver > /dev/null; then export RUSTC_WORKSPACE_WRAPPER=clippy-driver; fi

# Compiles tests; a warning is a failure.
compile_without_warnings() {
  local log="$WORK/results/$PART.log" status=0
  cargo test --quiet --locked --no-run "$@" 2>&1 | tee "$log" || status=$?
  ! grep --quiet '^warning' "$log" && return "$status"
}

part_clippy() {
  check "clippy is there: rustup component add clippy" test -n "${RUSTC_WORKSPACE_WRAPPER:-}"
  check "no lint warns" compile_without_warnings --workspace --all-targets
}

# Whether a crate is among what pkgpanda is made of.
has_dependency() {
  cargo tree --quiet --locked --no-default-features --edges=normal --prefix=none --format='{p}' | grep --quiet "^$1 "
}

has_no_dependency() { ! has_dependency "$1"; }

is_smaller() { [[ $(stat --format=%s "$1") -lt $2 ]]; }

part_carried() {
  local crate
  for crate in libcontainer git2 oci-spec zip toml; do
    check "pkgpanda is made without $crate" has_no_dependency "$crate"
  done
  # Without the lints, which turn optimization of the compiler's middle part off.
  check "pkgpanda can be static" env --unset=RUSTC_WORKSPACE_WRAPPER "$repo/scripts/static" "$WORK/pkgpanda" pkgpanda
  check "it has less than 10 MB" is_smaller "$WORK/pkgpanda" 10000000
  check "it runs without anything else" env -i "$WORK/pkgpanda" list --repository="$WORK/none"
  check "no lint warns" compile_without_warnings --no-default-features --lib
  check "its unit tests pass" cargo test --quiet --locked --no-default-features --lib
}

part_docs() {
  check "cargo doc, warnings denied" env RUSTDOCFLAGS="-D warnings" \
    cargo doc --quiet --locked --workspace --lib --no-deps --document-private-items
}

# Runs unit tests. Of those that pass, only what they have left out is shown.
nextest() {
  cargo nextest run --locked --workspace --lib --test layering --no-fail-fast --status-level fail --success-output immediate "$@" 2>&1 |
    grep -vE '^( *std(out|err) ───| *running 1 test| *test .* \.\.\. ok| *test result: ok\. 1 passed.*|)$'
}

part_unit() {
  local status=0
  check "the servers that stand in for clouds are there" servers_present
  note_skipped_servers
  if [[ ! -d $repo/../shared/golden && ! -d ${MKPANDA_SHARED:-/nowhere}/golden ]]; then
    echo "NOTE: ../shared/golden is not there: unit tests that compare with the original have nothing to compare"
  fi
  if cargo nextest --version > /dev/null 2>&1; then
    runner nextest || status=1
  else
    runner cargo test --quiet --locked --workspace --lib --test layering --no-fail-fast || status=1
  fi
  runner cargo test --quiet --locked --doc || status=1
  return "$status"
}

part_deny() {
  if ! cargo deny --version > /dev/null 2>&1; then
    skip "cargo-deny is not installed; cargo install cargo-deny --locked"
  fi
  check "cargo deny" cargo deny --offline check bans licenses sources
}
