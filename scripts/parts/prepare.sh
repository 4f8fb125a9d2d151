# The part that sees to what the others need.

# what it is for: package…
needed=(
  "building: gcc git git-lfs python3"
  "unpacking and packing: tar bzip2 xz-utils zstd zip unzip"
  "id ranges, capabilities, attributes: uidmap libcap2-bin attr util-linux"
  "a small image: busybox-static bash-static"
  "other readers of archives: libarchive-tools p7zip-full"
  "a real image: mmdebstrap"
  "peers to compare with: bubblewrap buildah crun runc podman skopeo umoci"
  "networks and agents of a Dockerfile's commands: passt slirp4netns openssh-client iproute2"
  "a registry, with TLS and passwords: docker-registry apache2-utils openssl"
  "servers and terminals: lighttpd curl tmux"
  "clocks that jump: libfaketime"
  "keys and signatures: minisign"
  "machines with services, and faults in them: systemd strace"
  "servers that stand in for clouds: python3-venv"
  "checks of scripts, completion by other shells: shellcheck zsh fish"
)

missing_packages() {
  local line package
  for line in "${needed[@]}"; do
    for package in ${line#*: }; do
      if [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2> /dev/null) != installed ]]; then
        echo "$package"
      fi
    done
  done
}

packages_present() {
  if ! command -v dpkg-query > /dev/null; then
    echo "This is no Debian: see to it yourself that these are there:"
    printf '  %s\n' "${needed[@]}"
    return 0
  fi
  local missing
  mapfile -t missing < <(missing_packages)
  if [[ ${#missing[@]} == 0 ]]; then return 0; fi
  if is_root; then
    echo "Installing, for the tests alone: ${missing[*]}"
    install_quietly "${missing[@]}"
    return
  fi
  echo "Missing for the tests. As root:"
  echo "  apt-get install --no-install-recommends ${missing[*]}"
  return 1
}

# setting VALUE REMEDY: a kernel setting that exists must not have the value that forbids user namespaces.
setting_allows() {
  local file=/proc/sys/${1//.//} forbidding=$2 remedy=$3
  if [[ -r $file && $(cat "$file") == "$forbidding" ]]; then
    echo "$1 is $forbidding, so no one but root can make user namespaces. As root: sysctl -w $remedy"
    return 1
  fi
}

kernel_allows() {
  setting_allows user.max_user_namespaces 0 user.max_user_namespaces=15000 &&
    setting_allows kernel.unprivileged_userns_clone 0 kernel.unprivileged_userns_clone=1 &&
    setting_allows kernel.apparmor_restrict_unprivileged_userns 1 kernel.apparmor_restrict_unprivileged_userns=0
}

# As every distribution has it; who opens it gets an interface in a network that is theirs already.
tun_is_open() {
  if [[ $(stat --format=%a /dev/net/tun) == *66 ]]; then return 0; fi
  if is_root; then chmod 0666 /dev/net/tun; return; fi
  echo "Networks of their own need /dev/net/tun. As root: chmod 0666 /dev/net/tun"
  return 1
}

# The folder with the servers that stand in for clouds; it stays for the next run.
servers_folder() { echo "${MKPANDA_TEST_SERVERS:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/mkpanda-test-servers}"; }

# S3 and Google's interface: moto. Azure: azurite. Checks of CloudFormation templates: cfn-lint. All in the
# versions that they were tried in. Checks of user data: Debian's cloud-init, which is unpacked alone, as the package
# enables services, and modules that it needs.
servers_wanted=(moto[server,s3]==5.2.5 azurite@3.37.0 cfn-lint==1.58.0)
cloud_init_modules=(configobj jinja2 jsonpatch jsonschema oauthlib pyyaml requests)
checkers=(cfn-lint cloud-init)

# write_checker FOLDER ARGUMENT…: $FOLDER/run, a Python program which works for every user and from any copy of the folder.
write_checker() {
  local folder=$1
  shift
  {
    printf '#!/bin/sh\nhere=$(dirname "$0")\nPYTHONPATH="$here/modules" exec'
    printf ' %q' "$(own_python)" -B "$@"
    printf ' "$@"\n'
  } > "$folder/run"
  chmod 755 "$folder/run"
}

install_cfn_lint() {
  local folder=$1/cfn-lint
  "$1/python/bin/pip" install --quiet --disable-pip-version-check --target "$folder/modules" "${servers_wanted[2]}" &&
    write_checker "$folder" -c 'import sys; from cfnlint.runner import main; sys.exit(main())'
}

install_cloud_init() {
  local folder=$1/cloud-init
  if ! command -v apt-get > /dev/null; then
    echo "This is no Debian: user data is checked if MKPANDA_TEST_CLOUD_INIT names a cloud-init."
    return 0
  fi
  mkdir -p "$folder/package" &&
    (cd "$folder/package" && apt-get -qq --option APT::Sandbox::User=root download cloud-init && dpkg-deb --extract cloud-init_*.deb .) &&
    "$1/python/bin/pip" install --quiet --disable-pip-version-check --target "$folder/modules" "${cloud_init_modules[@]}" &&
    cp -r "$folder/package/usr/lib/python3/dist-packages/cloudinit" "$folder/modules/" &&
    rm -rf "$folder/package" &&
    write_checker "$folder" -m cloudinit.cmd.main
}

install_checkers() { install_cfn_lint "$1" && install_cloud_init "$1"; }

install_servers() {
  install_programs "$1" "${servers_wanted[*]} ${checkers[*]}" install_checkers "${servers_wanted[@]:0:2}"
}

# Sets the variables that name the servers. One that is set stays as it is: MKPANDA_TEST_MOTO=skip.
name_servers() {
  local folder
  folder=$(servers_folder)
  export MKPANDA_TEST_MOTO="${MKPANDA_TEST_MOTO:-$folder/python/bin/moto_server}"
  export MKPANDA_TEST_AZURITE="${MKPANDA_TEST_AZURITE:-$folder/npm/node_modules/.bin/azurite-blob}"
  export MKPANDA_TEST_CFN_LINT="${MKPANDA_TEST_CFN_LINT:-$folder/cfn-lint/run}"
  export MKPANDA_TEST_CLOUD_INIT="${MKPANDA_TEST_CLOUD_INIT:-$folder/cloud-init/run}"
}

servers_present() {
  local folder
  folder=$(servers_folder)
  install_servers "$folder" || return 1
  name_servers
  {
    echo "export MKPANDA_TEST_MOTO='$MKPANDA_TEST_MOTO'"
    echo "export MKPANDA_TEST_AZURITE='$MKPANDA_TEST_AZURITE'"
    echo "export MKPANDA_TEST_CFN_LINT='$MKPANDA_TEST_CFN_LINT'"
    echo "export MKPANDA_TEST_CLOUD_INIT='$MKPANDA_TEST_CLOUD_INIT'"
  } > "$folder/environment"
  echo "To run single tests that need them: source $folder/environment"
}

# Says at the end of the run which clouds were left out.
note_skipped_servers() {
  local name
  for name in MKPANDA_TEST_MOTO MKPANDA_TEST_AZURITE; do
    if [[ ${!name} == skip ]]; then
      result "$PART" skipped 1 "the stores in clouds that $name is for, as it is set to skip"
    fi
  done
}

part_servers() { check "the servers that stand in for clouds are there" servers_present; }

part_prepare() {
  check "the packages that the tests need are there" packages_present
  check "the kernel lets ordinary users make user namespaces" kernel_allows
  check "ordinary users may open /dev/net/tun" tun_is_open
  if is_root; then check "the users that the tests run as are there" ensure_users; fi
}
