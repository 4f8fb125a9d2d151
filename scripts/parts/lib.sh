# What the parts of scripts/test share: the working folder, the count of results, users, and programs
# that tests need.
#
# $WORK/results/PART   lines `passed|failed|skipped|unsteady|runner N TEXT`
# $WORK/stage/         what the tests need of the repository, readable by every user
# $WORK/home/USER      a HOME and TMPDIR for each user that runs something

# On a real disk: /tmp may be a tmpfs, whose overlays and sizes are not the usual ones.
make_work() {
  WORK=$(mktemp -d "${TMPDIR:-/var/tmp}/mkpanda-test.XXXXXX")
  export WORK
  chmod 755 "$WORK"
  mkdir "$WORK/results"
}

remove_work() {
  # What a user with id ranges left there may belong to ids that only root, or a namespace, can remove.
  rm -rf "$WORK" 2> /dev/null || unshare --map-auto --map-root-user rm -rf "$WORK" 2> /dev/null ||
    echo "scripts/test: could not remove $WORK" >&2
}

result() {
  local part=$1 kind=$2 count=$3 text=$4
  echo "$kind $count $text" >> "$WORK/results/$part"
}

total() {
  awk -v kind="$2" '$1 == kind { sum += $2 } END { print sum + 0 }' "$WORK/results/$1"
}

# check TEXT COMMAND…: one check, which passes if the command does.
check() {
  local text=$1
  shift
  if "$@"; then
    echo "ok      $text"
    result "$PART" passed 1 "$text"
  else
    echo "FAILED  $text"
    result "$PART" failed 1 "$text"
    return 1
  fi
}

# Ends the part. A skip is repeated at the very end of the run.
skip() {
  echo "SKIPPED $*"
  result "$PART" skipped 1 "$*"
  exit 0
}

# Runs a test runner, and adds what its own summary lines count.
runner() {
  local log="$WORK/results/$PART.log" status=0 counts
  "$@" 2>&1 | tee "$log" || status=$?
  counts=$(awk -v status="$status" '
    /^test result:/ {
      for (i = 1; i < NF; i++) {
        if ($(i+1) ~ /^passed/) passed += $i
        if ($(i+1) ~ /^failed/) failed += $i
        if ($(i+1) ~ /^ignored/) skipped += $i
      }
    }
    /^ *Summary \[/ {
      for (i = 1; i < NF; i++) {
        if ($(i+1) ~ /^passed/) passed += $i
        if ($(i+1) ~ /^(failed|timed)/) failed += $i
        if ($(i+1) ~ /^skipped/) skipped += $i
      }
    }
    END { if (status != 0 && !failed) failed = 1; print passed + 0, failed + 0, skipped + 0 }' "$log")
  read -r passed failed skipped <<< "$counts"
  if [[ $failed != 0 && ${again:-} == yes ]]; then tries_again "$@"; fi
  result "$PART" passed "$passed" "tests"
  sed -n -e 's/^\(test result: .*\)/runner 0 \1/p' -e 's/^ *\(Summary \[.*\)/runner 0 \1/p' "$log" \
    >> "$WORK/results/$PART"
  if [[ $failed != 0 ]]; then result "$PART" failed "$failed" "tests, see above"; fi
  # What tests of this part have left out, once each.
  sed -n 's/^.*LEFT OUT: //p' "$log" | sort -u | while read -r left; do result "$PART" skipped 1 "$left"; done
  if [[ $skipped != 0 ]]; then result "$PART" skipped "$skipped" "tests that are marked as ignored"; fi
  return "$status"
}

# Runs failed tests of `it` once more, each alone, where the machine may have been too busy for a test's limit: three at
# most, for more have another cause. Changes the counts of the function `runner`, and names in the summary what passed.
tries_again() {
  local name names
  # The last list of failures has the names alone.
  mapfile -t names < <(awk '/^failures:$/ { n = 0 } /^    [a-z0-9_:]+$/ { name[n++] = $1 }
    END { for (i = 0; i < n; i++) print name[i] }' "$log")
  if [[ ${#names[@]} == 0 || ${#names[@]} -gt 3 || ${#names[@]} != "$failed" ]]; then return; fi
  for name in "${names[@]}"; do
    echo "Once more, alone: $name"
    if "$@" --exact "$name" 2>&1 | tee "$log.again" && grep -q '^test result: ok\. 1 passed' "$log.again"; then
      result "$PART" unsteady 1 "$name failed beside other tests and passed alone"
      passed=$((passed + 1)) failed=$((failed - 1))
    fi
  done
  if [[ $failed == 0 && ${MKPANDA_TEST_UNSTEADY:-} != fail ]]; then status=0; fi
}

# For a runner without which the part is nothing.
some_ran() { check "there was something to test" test "$(total "$PART" passed)" -gt 0; }

is_root() { [[ $(id -u) == 0 ]]; }

has_ranges() {
  local user=$1
  command -v newuidmap > /dev/null && command -v newgidmap > /dev/null || return 1
  grep -qE "^($user|$(id -u "$user")):" /etc/subuid && grep -qE "^($user|$(id -u "$user")):" /etc/subgid
} 2> /dev/null

# The two users are made once, without password, shell or home, and stay for the next run.
ensure_users() {
  local user
  touch /etc/subuid /etc/subgid
  for user in mkpanda-test-ranges mkpanda-test-single; do
    if ! id "$user" > /dev/null 2>&1; then
      echo "making the user $user (userdel $user removes it)"
      useradd --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
    fi
  done
  if ! has_ranges mkpanda-test-ranges; then
    local first
    first=$(awk -F: 'BEGIN { next_id = 100000 } $2 + $3 > next_id { next_id = $2 + $3 } END { print next_id }' \
      /etc/subuid /etc/subgid)
    usermod --add-subuids "$first-$((first + 65535))" --add-subgids "$first-$((first + 65535))" \
      mkpanda-test-ranges
  fi
  sed -i '/^mkpanda-test-single:/d' /etc/subuid /etc/subgid
}

# Variables that `as` adds.
extra_environment=()

# as USER COMMAND…: with a cleared environment, a HOME and a TMPDIR; $WORK/home/USER is the folder it works in.
as() {
  local user=$1 home="$WORK/home/$1" become=()
  shift
  if [[ $user != "$(id -un)" ]]; then
    become=(setpriv "--reuid=$(id -u "$user")" "--regid=$(id -g "$user")" --clear-groups)
  fi
  if [[ ! -d $home/tmp ]]; then
    mkdir -p "$home/tmp"
    chmod 755 "$home"
    chown -R "$user": "$home"
  fi
  "${become[@]}" env -i \
    "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" "HOME=$home" "TMPDIR=$home/tmp" \
    "USER=$user" LANG=C.UTF-8 "${extra_environment[@]}" "$@"
}

# Packages that bring a service must not start it on this machine.
install_quietly() {
  local policy=/usr/sbin/policy-rc.d own=
  if [[ ! -e $policy ]]; then
    own=yes
    printf '#!/bin/sh\nexit 101\n' > "$policy"
    chmod 755 "$policy"
  fi
  local status=0
  apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "$@" || status=$?
  if [[ -n $own ]]; then rm -f "$policy"; fi
  return "$status"
}

# It may have come with a Node.js from elsewhere, which the distribution's package of npm excludes.
npm_present() {
  if command -v npm > /dev/null; then return 0; fi
  if is_root; then install_quietly npm; return; fi
  echo "Missing for the tests of stores in clouds. As root: apt-get install --no-install-recommends npm"
  return 1
}

# The machine's own Python, which every user can run.
own_python() { if [[ -x /usr/bin/python3 ]]; then echo /usr/bin/python3; else command -v python3; fi; }

# install_programs FOLDER WANTED MORE PYTHON_PACKAGE NODE_PACKAGE…: programs that tests need, each in a folder of its kind,
# unless those in FOLDER are the ones that WANTED names. MORE is a command that adds the rest to the folder.
install_programs() {
  local folder=$1 wanted=$2 more=$3 python_package=$4
  shift 4
  if [[ $(cat "$folder/installed" 2> /dev/null) == "$wanted" ]]; then return 0; fi
  echo "Installing, for the tests alone, in $folder: $wanted"
  rm -rf "$folder"
  npm_present &&
    mkdir -p "$folder/npm" &&
    "$(own_python)" -m venv "$folder/python" &&
    "$folder/python/bin/pip" install --quiet --disable-pip-version-check "$python_package" &&
    npm install --silent --no-fund --no-audit --prefix "$folder/npm" "$@" &&
    "$more" "$folder" &&
    # Last: a run that was cut off leaves a folder that is made anew.
    echo "$wanted" > "$folder/installed"
}
