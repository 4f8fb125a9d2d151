# The part that checks pipelines of CI engines, and runs one.

# The folder with the programs that check and run pipelines; it stays for the next run.
pipelines_folder() {
  echo "${MKPANDA_TEST_PIPELINES:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/mkpanda-test-pipelines}"
}

# Schemas of the engines, and an engine for GitLab's pipelines with the Node.js that it needs, in the versions that they
# were tried in.
pipelines_wanted=(check-jsonschema==0.39.0 gitlab-ci-local@4.75.1 node@22)

# gitlab-ci-local copies folders by it.
rsync_present() {
  if command -v rsync > /dev/null; then return 0; fi
  if is_root; then install_quietly rsync; return; fi
  echo "Missing for running pipelines. As root: apt-get install --no-install-recommends rsync"
  return 1
}

install_pipeline_programs() { install_programs "$1" "${pipelines_wanted[*]}" true "${pipelines_wanted[@]}"; }

# The checks themselves count in the output of a program of their own.
part_pipelines() {
  local folder log="$WORK/results/pipelines.log" status=0
  folder=$(pipelines_folder)
  if [[ $folder == skip ]]; then skip "MKPANDA_TEST_PIPELINES=skip"; fi
  need_stage
  if ! install_pipeline_programs "$folder"; then
    skip "the programs that check and run pipelines cannot be installed here: ${pipelines_wanted[*]}"
  fi
  if ! rsync_present; then skip "rsync is missing, which running pipelines needs"; fi
  "$repo/scripts/pipelines" "--bin=$WORK/stage/mkpanda" "--programs=$folder" "--work=$WORK/pipelines" 2>&1 |
    tee "$log" || status=$?
  result pipelines passed "$(grep -c '^ok ' "$log")" "checks of pipelines"
  if [[ $status != 0 ]]; then
    result pipelines failed "$(grep -c '^FAILED ' "$log" || true)" "checks of pipelines, see above"
  fi
  return "$status"
}
