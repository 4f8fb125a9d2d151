# The parts that build something whole: recorded inputs, the example trees, and a tree that is tortured.

part_golden() {
  local golden=${MKPANDA_SHARED:-$repo/../shared}/golden
  if [[ ! -x $golden/check.sh ]]; then
    skip "$golden/check.sh is not there; MKPANDA_SHARED names another folder than ../shared"
  fi
  need_stage
  mkdir -p "$WORK/golden-bin"
  ln -sf "$WORK/stage/mkpanda" "$WORK/stage/pkgpanda" "$WORK/golden-bin"
  check "no hard difference from the original" "$golden/check.sh" "$WORK/golden-bin"
}

# The two who build the same thing: two users if there is a root to become them, else one user twice.
two_users() {
  if is_root; then
    ensure_users
    users=(mkpanda-test-ranges mkpanda-test-single)
  else
    users=("$(id -un)" "$(id -un)")
    echo "NOTE: as root this part builds as two users, now it is one user in two folders"
  fi
}

# copy_example NAME USER FOLDER: into a folder of that user's
copy_example() {
  local name=$1 user=$2 folder=$3
  as "$user" mkdir -p "$folder"
  as "$user" cp -r "$WORK/stage/examples/$name/." "$folder"
}

# tree USER FOLDER OPTION…: what a person types in a tree's folder
tree() {
  local user=$1 folder=$2
  shift 2
  as "$user" "$WORK/stage/mkpanda" -C "$folder/packages" tree --mkbootstrap "$@"
}

# installed USER CACHE VARIANT_PREFIX PROGRAM…: runs a program of a bootstrap, unpacked at /opt/mesosphere
installed() {
  local user=$1 cache=$2 prefix=$3 id root
  shift 3
  id=$(cat "$cache/bootstrap/${prefix}bootstrap.latest")
  root="$WORK/home/$user/installed-$id"
  as "$user" mkdir -p "$root"
  as "$user" tar --extract --file "$cache/bootstrap/$id.bootstrap.tar.xz" --directory "$root" --no-same-owner
  as "$user" bwrap --unshare-all --ro-bind /usr /usr --symlink usr/bin /bin --symlink usr/lib /lib \
    --symlink usr/lib64 /lib64 --proc /proc --dev /dev --ro-bind "$root" /opt/mesosphere "$@"
}

says() { [[ $1 == "$("${@:2}")" ]]; }

part_dockerfiles() {
  local user
  user=$(id -un)
  if is_root; then
    ensure_users
    user=mkpanda-test-ranges
  elif ! has_ranges "$user"; then
    skip "$user has no id ranges in /etc/subuid and /etc/subgid; run as root to include it"
  fi
  need_stage
  check "both builders make the same images" \
    as "$user" "$WORK/stage/scripts/compare-dockerfiles" "$WORK/stage/mkpanda"
}

part_hello() {
  local users folder
  two_users
  need_stage
  folder="$WORK/home/${users[1]}/hello"
  copy_example hello "${users[1]}" "$folder"
  check "the example builds" tree "${users[1]}" "$folder"
  check "its bootstrap's program runs" says "Hello, world!" \
    installed "${users[1]}" "$folder/packages/cache" "" /opt/mesosphere/bin/hello
  check "nothing is left to build" tree "${users[1]}" "$folder"
  check "the image made of rootfs/tiny can be loaded" \
    as "${users[1]}" "$WORK/stage/mkpanda" image load "$WORK/stage/tiny.oci.tar"
}

# real_inputs USER: the mirror and the builder image of the small real tree in $WORK/small-real, made once for all parts
real_inputs() {
  local user=$1 small="$WORK/small-real"
  if [[ -e $small/debian-gcc.oci.tar ]]; then return 0; fi
  install -d -o "$user" "$small"
  check "the mirror is filled from the distribution's sources" \
    as "$user" "$WORK/stage/scripts/mirror-from-debian" "$small/mirror" "$WORK/stage/examples/small-real/packages"
  check "the builder image is made by an ordinary user" \
    as "$user" "$WORK/stage/scripts/make-image" debian-gcc "$small/debian-gcc.oci.tar"
}

part_small_real() {
  local users small="$WORK/small-real" a b caches
  two_users
  if ! has_ranges "${users[0]}"; then
    skip "${users[0]} has no id ranges, which mmdebstrap needs; run as root to include it"
  fi
  need_stage
  a="$WORK/home/${users[0]}/small-real" b="$WORK/home/${users[1]}/another/place/for/it"
  caches=("$a/packages/cache" "$b/packages/cache")

  real_inputs "${users[0]}"
  copy_example small-real "${users[0]}" "$a"
  copy_example small-real "${users[1]}" "$b"
  as "${users[0]}" ln -s "$small/debian-gcc.oci.tar" "$a/debian-gcc.oci.tar"
  as "${users[1]}" ln -s "$small/debian-gcc.oci.tar" "$b/debian-gcc.oci.tar"

  start_s3
  # Not --offline or --only-mirrors, with which no cache on a server is asked. The sources come from the mirror.
  check "${users[0]} builds it from the mirror, and puts it into an S3 store" \
    with_s3 tree "${users[0]}" "$a" "--mirror=$small/mirror" --cache=s3://packages
  check "${users[1]} builds it offline elsewhere" \
    tree "${users[1]}" "$b" --offline "--mirror=$small/mirror" -j1
  check "both have the same files, byte for byte" diff --recursive "${caches[@]}"
  check "the bootstrap's server works" says "self-test passed" \
    installed "${users[0]}" "${caches[0]}" "" /opt/mesosphere/bin/xz-httpd --self-test
  check "the installer's server works" says "self-test passed" \
    installed "${users[0]}" "${caches[0]}" installer. /opt/mesosphere/bin/xz-httpd --self-test

  local d="$WORK/home/${users[1]}/second"
  copy_example small-real "${users[1]}" "$d"
  # The image is needed for the ids alone.
  as "${users[1]}" ln -s "$small/debian-gcc.oci.tar" "$d/debian-gcc.oci.tar"
  # Another machine: nothing of the earlier builds' home is there.
  extra_home=("MKPANDA_HOME=$WORK/home/${users[1]}/second-home")
  check "${users[1]} with another home takes it from the S3 store, without its sources, and builds nothing" \
    built_nothing with_s3 tree "${users[1]}" "$d" --cache=s3://packages
  check "what was taken is the same, byte for byte" \
    diff <(archives "${caches[0]}") <(archives "$d/packages/cache")
  stop_s3
  extra_home=()

  local c="$WORK/home/${users[0]}/closed" home="$WORK/home/${users[0]}/closed-home"
  check "all that the tree needs goes into one file" as "${users[0]}" "$WORK/stage/mkpanda" \
    mirror create "$a/packages" "$WORK/home/${users[0]}/air-gap.tar"
  copy_example small-real "${users[0]}" "$c"
  if ! is_root; then echo "NOTE: as root the next check runs without any network interface"; fi
  check "${users[0]} builds it from that file alone, in another home and without a network" \
    alone "${users[0]}" env "MKPANDA_HOME=$home" "$WORK/stage/mkpanda" -C "$c/packages" tree --mkbootstrap \
    --offline "--mirror=$WORK/home/${users[0]}/air-gap.tar"
  check "what it built is the same, byte for byte" diff --recursive "${caches[0]}" "$c/packages/cache"
}

# alone USER COMMAND…: as `as`, in a network namespace that has no interface but a loopback that is down.
# Only root can make one and become another user with id ranges in it.
alone() {
  local user=$1 home="$WORK/home/$1"
  shift
  if is_root; then
    as "$user" true
    unshare --net env --ignore-environment "HOME=$home" "TMPDIR=$home/tmp" "PATH=$PATH" \
      setpriv "--reuid=$(id -u "$user")" "--regid=$(id -g "$user")" --clear-groups "$@"
  else
    as "$user" "$@"
  fi
}

# built_nothing COMMAND…: the command builds no package: all of them are there, or fetched.
built_nothing() {
  local log="$WORK/built-nothing.log"
  "$@" 2> "$log" || { cat "$log" >&2; return 1; }
  cat "$log" >&2
  if grep -qE '^ +build ' "$log"; then return 1; fi
}

# A server with the interface of S3, on loopback, with an empty bucket `packages`.
start_s3() {
  name_servers
  if [[ $MKPANDA_TEST_MOTO == skip ]]; then skip "MKPANDA_TEST_MOTO=skip"; fi
  install_servers "$(servers_folder)"
  local port
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  "$MKPANDA_TEST_MOTO" -H 127.0.0.1 -p "$port" > "$WORK/s3.log" 2>&1 &
  s3=$!
  s3_url="http://127.0.0.1:$port"
  local _
  for _ in {1..100}; do
    if curl --silent --output /dev/null --request PUT "$s3_url/packages"; then return 0; fi
    sleep 0.2
  done
  cat "$WORK/s3.log" >&2
  return 1
}

stop_s3() { kill "$s3"; }

# archives CACHE: all packages and bootstraps of a tree's cache, with their sums
archives() { (cd "$1" && find . -name '*--*.tar.xz' -o -name '*.bootstrap.tar.xz' | sort | xargs sha256sum); }

extra_home=()

# with_s3 COMMAND…: with the store's address and credentials for `as`, and a proxy that is dead: nothing that
# sources name can be reached
with_s3() {
  extra_environment=("AWS_ENDPOINT_URL=$s3_url" AWS_ACCESS_KEY_ID=id AWS_SECRET_ACCESS_KEY=secret
    AWS_REGION=us-east-1 HTTPS_PROXY=http://127.0.0.1:9 "${extra_home[@]}")
  local status=0
  "$@" || status=$?
  extra_environment=()
  return "$status"
}

# Runs what the harness counts as checks of its own.
part_torture() {
  local log="$WORK/results/torture.log" status=0
  need_stage
  if is_root; then ensure_users; fi
  "$repo/scripts/torture" --short "--bin=$WORK/stage/mkpanda" 2>&1 | tee "$log" || status=$?
  result torture passed "$(grep -c '^ok ' "$log")" "rounds and scenarios"
  sed -n 's/^seed /runner 0 seed /p' "$log" >> "$WORK/results/torture"
  if grep -q '^skipped ' "$log"; then
    result torture skipped "$(grep -c '^skipped ' "$log")" "$(grep '^skipped ' "$log" | head -1)"
  fi
  if [[ $status != 0 ]]; then
    result torture failed "$(grep -c '^FAILED ' "$log" || true)" "rounds and scenarios, see above"
  fi
  return "$status"
}
