# The integration tests, run once by each kind of user.
#
# They are built once by whoever calls. A user who may not read the repository or cargo's folder gets a
# stage: the executables, the test data and the examples, and environment variables that point there.

# Tests at once: many of them wait for the disk or for time to pass.
at_once=$((2 * $(nproc)))

# Compiles, and leaves in $WORK/built the paths of the test executable `it`, of mkpanda and of pkgpanda.
compile() {
  cargo test --quiet --locked --no-run --test it --message-format=json-render-diagnostics |
    python3 -c '
import json, sys
found = {}
for line in sys.stdin:
    message = json.loads(line)
    if message.get("executable"):
        found[message["target"]["name"], message["profile"]["test"]] = message["executable"]
print(found["it", True], found["mkpanda", False], found["pkgpanda", False])' > "$WORK/built"
}

# Variables that name programs which check files, and the folders of those that the part servers installs.
checker_variables=(MKPANDA_TEST_CFN_LINT=cfn-lint MKPANDA_TEST_CLOUD_INIT=cloud-init MKPANDA_TEST_SHELLCHECK=)

# Copies what checks files to where every user can read it; one that is missing is told at the end of the run.
stage_checkers() {
  local stage=$1 folder pair variable name
  folder=$(servers_folder)
  mkdir -p "$stage/checkers"
  for pair in "${checker_variables[@]}"; do
    variable=${pair%%=*} name=${pair#*=}
    if [[ -n ${!variable:-} && ${!variable} != "$folder"/* ]]; then
      if [[ ${!variable} == skip ]]; then result "$PART" skipped 1 "the checks that $variable is for, as it is set to skip"; fi
    elif [[ -n $name && -x $folder/$name/run ]]; then
      cp -a "$folder/$name" "$stage/checkers/"
    elif [[ -n $name ]]; then
      result "$PART" skipped 1 "the checks with $name, which is missing: scripts/test servers"
    elif ! command -v shellcheck > /dev/null; then
      result "$PART" skipped 1 "the checks with shellcheck, which is missing: scripts/test prepare"
    fi
  done
}

# $WORK/stage/{it,mkpanda,pkgpanda,tiny.oci.tar,tests/,docs/,examples/,rootfs/,scripts/,checkers/}
part_build() {
  local stage="$WORK/stage" it mkpanda pkgpanda
  check "mkpanda and its integration tests compile" compile
  read -r it mkpanda pkgpanda < "$WORK/built"
  mkdir -p "$stage"
  install -m 755 "$it" "$stage/it"
  install -m 755 "$mkpanda" "$stage/mkpanda"
  install -m 755 "$pkgpanda" "$stage/pkgpanda"
  check "pkgpanda for installers is static" "$repo/scripts/static" "$stage/pkgpanda-static" pkgpanda-debug
  # Tests put it into installers.
  strip "$stage/pkgpanda-static"
  tar --create --exclude=cache README.md docs tests examples rootfs scripts | tar --extract --directory "$stage" --no-same-owner
  check "what checks templates and scripts is staged" stage_checkers "$stage"
  chmod -R u+rwX,go+rX "$stage"
  check "the small image is made" "$repo/scripts/make-image" tiny "$stage/tiny.oci.tar"
  touch "$stage/done"
}

need_stage() {
  if [[ ! -e $WORK/stage/done ]]; then
    echo "There is nothing to test, as the part build failed."
    return 1
  fi
}

# The variables that tell the tests where things are, below the stage as the tests see it.
# MKPANDA_TEST_AS names the run: user-ranges, user-single, root or nested.
test_environment() {
  local stage=$1 kind=$2
  echo "MKPANDA_BIN=$stage/mkpanda"
  echo "PKGPANDA_BIN=$stage/pkgpanda"
  echo "MKPANDA_TEST_STATIC_PKGPANDA=$stage/pkgpanda-static"
  echo "MKPANDA_TEST_DATA=$stage/tests/data"
  echo "MKPANDA_TEST_AS=$kind"
  local pair variable name
  for pair in "${checker_variables[@]}"; do
    variable=${pair%%=*} name=${pair#*=}
    if [[ -n $name && -x $WORK/stage/checkers/$name/run ]]; then
      echo "$variable=$stage/checkers/$name/run"
    elif [[ -n ${!variable:-} ]]; then
      echo "$variable=${!variable}"
    fi
  done
  # Snapshots are compared with the staged ones, and never written.
  echo "INSTA_WORKSPACE_ROOT=$stage"
  echo "INSTA_UPDATE=no"
}

run_it_as() {
  local user=$1 kind=$2 environment
  need_stage
  mapfile -t environment < <(test_environment "$WORK/stage" "$kind")
  cd "$WORK/stage"
  again=yes runner as "$user" "${environment[@]}" "$WORK/stage/it" "--test-threads=$at_once"
  some_ran
}

part_it_user_ranges() {
  if is_root; then
    ensure_users
    run_it_as mkpanda-test-ranges user-ranges
  elif has_ranges "$(id -un)"; then
    run_it_as "$(id -un)" user-ranges
  else
    skip "$(id -un) has no id ranges in /etc/subuid and /etc/subgid; run as root to include it"
  fi
}

part_it_user_single() {
  if is_root; then
    ensure_users
    run_it_as mkpanda-test-single user-single
  elif ! has_ranges "$(id -un)"; then
    run_it_as "$(id -un)" user-single
  else
    skip "$(id -un) has id ranges; run as root to include it"
  fi
}

part_it_root() {
  if ! is_root; then skip "run as root to include it"; fi
  run_it_as root root
}

# A root for the container that borrows this machine's programs, so that nothing has to be installed in it.
container_root() {
  local root="$WORK/podman/root" name
  mkdir -p "$root"/{dev,etc,proc,root,run,stage,sys,tmp,usr,var/lib/dpkg,var/tmp}
  chmod 1777 "$root/tmp" "$root/var/tmp"
  for name in bin lib lib32 lib64 sbin; do
    if [[ -L /$name ]]; then ln -s "$(readlink "/$name")" "$root/$name"; fi
  done
  for name in alternatives containers group ld.so.cache nsswitch.conf os-release passwd protocols services ssl; do
    if [[ -e /etc/$name ]]; then cp -a "/etc/$name" "$root/etc/"; fi
  done
}

# An OCI runtime that is another one, but for resource limits: podman asks for higher ones than a machine
# whose root may not raise them has.
runtime_without_limits() {
  local runtime=$1 wrapper="$WORK/podman/$1"
  cat > "$wrapper" << END
#!/usr/bin/python3
import json, os, sys
for flag in ("--bundle", "-b"):
    if flag in sys.argv:
        path = os.path.join(sys.argv[sys.argv.index(flag) + 1], "config.json")
        with open(path) as file:
            spec = json.load(file)
        spec["process"].pop("rlimits", None)
        with open(path, "w") as file:
            json.dump(spec, file)
os.execv("$(command -v "$runtime")", ["$runtime", *sys.argv[1:]])
END
  chmod 755 "$wrapper"
  echo "$wrapper"
}

# Runs a command in the container, below a shell as its process 1: runs that are killed leave processes to
# that one, which has to wait for them, as the limit of processes counts those that nobody waited for.
in_podman() {
  podman --cgroup-manager=cgroupfs --runtime "$runtime" run --rm --network=none \
    --volume /usr:/usr:ro --volume /var/lib/dpkg:/var/lib/dpkg:ro --volume "$WORK/stage:/stage:ro" \
    --workdir /stage "${variables[@]}" --rootfs "$WORK/podman/root:O" \
    /bin/bash -c '"$@"; exit "$?"' podman "$@"
}

part_it_podman() {
  if ! is_root; then skip "run as root to include it"; fi
  need_stage
  container_root
  local runtime candidate variable tried='' variables=(--env HOME=/root --env LANG=C.UTF-8 --env TMPDIR=/tmp)
  while read -r variable; do variables+=(--env "$variable"); done < <(test_environment /stage nested)
  for candidate in crun runc "$(runtime_without_limits crun)" "$(runtime_without_limits runc)"; do
    runtime=$candidate
    if tried+="$candidate: $(in_podman /bin/true 2>&1)"$'\n'; then break; fi
    runtime=
  done
  if [[ -z $runtime ]]; then
    echo "$tried"
    check "podman can run a container with one of the runtimes above" false
  fi
  echo "podman runs containers with $runtime here"
  again=yes runner in_podman /stage/it "--test-threads=$at_once"
  some_ran
}
