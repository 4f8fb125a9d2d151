# The parts that cargo does.

export CARGO_TERM_COLOR=never

part_fmt() { check "cargo fmt --check" cargo fmt --check; }

part_clippy() {
  check "cargo clippy, warnings denied" cargo clippy --quiet --locked --all-targets -- -D warnings
}

part_docs() {
  check "cargo doc, warnings denied" env RUSTDOCFLAGS="-D warnings" \
    cargo doc --quiet --locked --no-deps --document-private-items
}

part_unit() {
  local status=0
  if [[ ! -d $repo/../shared/golden && ! -d ${MKPANDA_SHARED:-/nowhere}/golden ]]; then
    echo "NOTE: ../shared/golden is not there: unit tests that compare with the original have nothing to compare"
  fi
  if cargo nextest --version > /dev/null 2>&1; then
    runner cargo nextest run --locked --lib --test layering --no-fail-fast --status-level fail || status=1
  else
    runner cargo test --quiet --locked --lib --test layering --no-fail-fast || status=1
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
