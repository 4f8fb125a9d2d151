# The parts that cargo does.

export CARGO_TERM_COLOR=never

part_fmt() { check "cargo fmt --check" cargo fmt --all --check; }

part_clippy() {
  local status=0
  check "cargo clippy, warnings denied" cargo clippy --quiet --locked --workspace --all-targets -- -D warnings || status=1
  check "the same for pkgpanda alone" \
    cargo clippy --quiet --locked --all-targets --no-default-features -- -D warnings || status=1
  return "$status"
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
  check "pkgpanda can be static" "$repo/scripts/static" "$WORK/pkgpanda" pkgpanda
  check "it has less than 10 MB" is_smaller "$WORK/pkgpanda" 10000000
  check "it runs without anything else" env -i "$WORK/pkgpanda" list --repository="$WORK/none"
  check "its unit tests pass" \
    cargo test --quiet --locked --no-default-features --lib --test layering
}

part_docs() {
  check "cargo doc, warnings denied" env RUSTDOCFLAGS="-D warnings" \
    cargo doc --quiet --locked --workspace --no-deps --document-private-items
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
