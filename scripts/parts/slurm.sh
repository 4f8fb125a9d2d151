# The part that builds on a cluster of Slurm.

slurm_packages=(munge slurmctld slurmd slurm-client)

slurm_present() {
  local package missing=()
  for package in "${slurm_packages[@]}"; do
    if [[ $(dpkg-query --show --showformat '${db:Status-Status}' "$package" 2> /dev/null) != installed ]]; then
      missing+=("$package")
    fi
  done
  if [[ ${#missing[@]} == 0 ]]; then return 0; fi
  echo "Installing, for the tests alone: ${missing[*]}"
  install_quietly "${missing[@]}"
}

# Runs what the script counts as checks of its own.
part_slurm() {
  local log="$WORK/results/slurm.log" status=0
  if ! is_root; then skip "the daemons of Slurm need root; run as root to include it"; fi
  if ! command -v apt-get > /dev/null; then skip "this is no Debian, and Slurm is installed from there"; fi
  need_stage
  ensure_users
  check "Slurm is there" slurm_present
  "$repo/scripts/on-slurm" "--bin=$WORK/stage/mkpanda" 2>&1 | tee "$log" || status=$?
  result slurm passed "$(grep -c '^ok ' "$log")" "checks on a cluster of two nodes"
  if [[ $status != 0 ]]; then
    result slurm failed "$(grep -c '^FAILED ' "$log" || true)" "checks on a cluster, see above"
  fi
  return "$status"
}
