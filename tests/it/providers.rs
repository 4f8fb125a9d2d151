//! The providers that come with the program, and the examples: what others' tools say of their files.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use mkpanda::provider::{Provider, ProviderFile, Values, VariantFiles};
use serde_json::{Value, json};

use crate::inside::left_out_here;
use crate::support::{data, ran};

/// Values of a release whose texts mean something to shells, YAML and templates.
fn values() -> Values {
    let sum = "ab".repeat(32);
    Values::new()
        .release("azure_download_url", "https://azure.example.org/")
        .release("bootstrap_id", "cd".repeat(20))
        .release("bootstrap_sha256", sum.clone())
        .release("bootstrap_url", "https://packages.example.org/testing")
        .release("bootstrap_variant", "ee.")
        .release("build_name", "testing/master")
        .release("cloudformation_s3_url_full", "https://s3.example.org/b/cloudformation")
        .release("commit", "0123456789")
        .release("package_ids", json!(["a--1", "b--2"]))
        .release("pkgpanda_sha256", sum)
        .release("pkgpanda_url", "https://packages.example.org/testing/pkgpanda")
        .release("provider", "p")
        .release("reproducible_artifact_path", "testing/commit/1")
        .release("repository_url", "https://packages.example.org/testing")
        .release("signing_key", "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3")
        .release("tag", "it's: \"${tag}\" # [1] {{ x }}")
        .release("variant", "ee")
        .release("version", "1.0 'a' ${b}")
}

fn example(name: &str) -> PathBuf {
    data().join("../../examples/providers").join(name)
}

#[track_caller]
fn files(provider: &Provider, values: &Values) -> Vec<ProviderFile> {
    provider.render(values).unwrap_or_else(|error| panic!("{}: {error}", provider.name()))
}

fn text(file: &ProviderFile) -> &str {
    std::str::from_utf8(&file.bytes).unwrap()
}

/// Path of a program that checks files; says so if there is none.
#[track_caller]
pub fn checker(variable: &str, program: &str) -> Option<PathBuf> {
    let path = match std::env::var(variable) {
        Ok(word) if word == "skip" => None,
        Ok(path) => Some(PathBuf::from(path)),
        Err(_) => ["/usr/bin", "/usr/local/bin"]
            .iter()
            .map(|folder| Path::new(folder).join(program))
            .find(|path| path.exists()),
    };
    if path.is_none() {
        left_out_here(&format!("checks with {program}"), "scripts/test prepare servers");
    }
    path
}

#[track_caller]
pub fn check(program: &Path, arguments: &[&str], files: &[(String, &[u8])]) {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let name = name.replace('/', "-");
        std::fs::write(folder.path().join(&name), bytes).unwrap();
        let output = Command::new(program)
            .args(arguments)
            .arg(&name)
            .current_dir(folder.path())
            .output()
            .unwrap_or_else(|error| panic!("{}: {error}", program.display()));
        let said = ran(&output);
        assert_eq!(said.code, 0, "{name}: {}{}", said.stdout, said.stderr);
    }
}

#[test]
fn cloudformation_templates_pass_cfn_lint() {
    let Some(program) = checker("MKPANDA_TEST_CFN_LINT", "cfn-lint") else { return };
    let files = files(&Provider::built_in("aws").unwrap(), &values());
    let templates: Vec<_> = files
        .iter()
        .filter(|file| file.name.ends_with(".cloudformation.json"))
        .map(|file| (file.name.clone(), file.bytes.as_slice()))
        .collect();
    assert_eq!(templates.len(), 2);
    check(&program, &["--regions", "us-east-1", "--"], &templates);
}

/// The user data of a template of AWS, as a machine gets it.
fn aws_user_data(template: &str) -> Vec<String> {
    let template: Value = serde_json::from_str(template).unwrap();
    let resources = template["Resources"].as_object().unwrap();
    let texts = resources.values().filter_map(|resource| {
        resource["Properties"]["LaunchTemplateData"]["UserData"]["Fn::Base64"]["Fn::Sub"].as_str()
    });
    texts.map(|text| text.replace("${ClusterName}", "c1").replace("${!", "${")).collect()
}

/// All cloud-configs of all providers, by name.
fn user_data() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for file in files(&Provider::built_in("aws").unwrap(), &values()) {
        if file.name.ends_with(".cloudformation.json") {
            let texts = aws_user_data(text(&file)).into_iter().enumerate();
            found.extend(texts.map(|(index, text)| (format!("{}-{index}", file.name), text)));
        }
    }
    for file in files(&Provider::built_in("azure").unwrap(), &values()) {
        if file.name.ends_with(".azuredeploy.json") {
            let template: Value = serde_json::from_slice(&file.bytes).unwrap();
            for (name, value) in template["variables"].as_object().unwrap() {
                if name.ends_with("CloudConfig") {
                    let text = value.as_str().unwrap().replace("@@ClusterName@@", "c1");
                    found.push((format!("{}-{name}", file.name), text));
                }
            }
        }
    }
    for file in files(&Provider::read(&example("cloud-init")).unwrap(), &values()) {
        if file.name.starts_with("cloud-init/") {
            let text = text(&file).replace("## template: jinja\n", "");
            found.push((file.name.clone(), text.replace("{{ v1.local_hostname }}", "h1")));
        }
    }
    found
}

#[test]
fn user_data_names_the_late_value_and_the_packages() {
    let found = user_data();
    assert_eq!(found.len(), 2 * 3 + 2 * 3 + 2);
    for (name, text) in &found {
        assert!(text.starts_with("#cloud-config\n"), "{name}");
        let late = text.contains("late_bound_package_id");
        assert!(
            late && text.contains("--setup") && text.contains("cluster-package-list"),
            "{name}"
        );
        // The shell's own expansions are there, and none of the placeholders is left.
        assert!(
            text.contains("${sum%% *}") && !text.contains("@@") && !text.contains("${!"),
            "{name}"
        );
    }
}

#[test]
fn user_data_passes_cloud_inits_schema() {
    let Some(program) = checker("MKPANDA_TEST_CLOUD_INIT", "cloud-init") else { return };
    let found = user_data();
    let files: Vec<_> = found.iter().map(|(name, text)| (name.clone(), text.as_bytes())).collect();
    check(&program, &["schema", "--config-file"], &files);
}

#[test]
fn scripts_pass_shellcheck() {
    let Some(program) = checker("MKPANDA_TEST_SHELLCHECK", "shellcheck") else { return };
    let given = onprem_values().given("installed_version", "0.9");
    let onprem = files(&Provider::built_in("onprem").unwrap(), &given);
    let cluster = files(&Provider::read(&example("cluster")).unwrap(), &given);
    let mut scripts: Vec<(String, Vec<u8>)> = onprem
        .into_iter()
        .chain(cluster)
        .filter(|file| Path::new(&file.name).extension().is_some_and(|ending| ending == "sh"))
        .map(|file| (file.name, file.bytes))
        .collect();
    assert_eq!(scripts.len(), 4);
    for (name, text) in user_data() {
        let start = text.find("#!/bin/sh").unwrap();
        let line = text[..start].rfind('\n').unwrap() + 1;
        let line = text[line..].lines().next().unwrap();
        let script: String =
            serde_json::from_str(line.trim().strip_prefix("content: ").unwrap()).unwrap();
        scripts.push((name, script.into_bytes()));
    }
    let scripts: Vec<_> =
        scripts.iter().map(|(name, text)| (name.clone(), text.as_slice())).collect();
    check(&program, &["--shell=sh", "--severity=warning"], &scripts);
}

fn onprem_values() -> Values {
    values()
        .given("bootstrap_url", "http://10.0.0.1:8080")
        .given("cluster_name", "c")
        .given("ip_detect_contents", "#!/bin/sh\necho 10.0.0.2\n")
}

/// Names in calls such as `parameters('NAME')`.
fn called(text: &str, function: &str) -> BTreeSet<String> {
    let call = format!("{function}('");
    text.match_indices(&call)
        .filter_map(|(at, _)| text[at + call.len()..].split('\'').next())
        .map(str::to_owned)
        .collect()
}

/// Every expression in a template of Azure's resource manager.
fn expressions(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) if text.starts_with('[') && !text.starts_with("[[") => {
            found.push(text.clone());
        }
        Value::Array(items) => items.iter().for_each(|item| expressions(item, found)),
        Value::Object(entries) => entries.values().for_each(|value| expressions(value, found)),
        _ => {}
    }
}

/// Checks brackets and quotes of an expression.
fn is_balanced(expression: &str) -> bool {
    let (mut open, mut is_quoted) = (Vec::new(), false);
    for letter in expression.chars() {
        match letter {
            '\'' => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' | '[' => open.push(letter),
            ')' if open.pop() != Some('(') => return false,
            ']' if open.pop() != Some('[') => return false,
            _ => {}
        }
    }
    open.is_empty() && !is_quoted && expression.ends_with(']')
}

/// The structure that Azure demands, as far as it can be told without its schemas.
fn arm_faults(template: &Value) -> Vec<String> {
    let mut faults = Vec::new();
    let mut demand = |holds: bool, fault: String| {
        if !holds {
            faults.push(fault);
        }
    };
    let schema = template["$schema"].as_str().unwrap_or_default();
    demand(schema.ends_with("/deploymentTemplate.json#"), format!("schema {schema}"));
    demand(template["contentVersion"] == "1.0.0.0", "contentVersion".to_owned());
    let known = ["$schema", "contentVersion", "parameters", "variables", "resources", "outputs"];
    let top = template.as_object().unwrap();
    demand(top.keys().all(|key| known.contains(&key.as_str())), "unknown key".to_owned());
    let mut found = Vec::new();
    expressions(template, &mut found);
    for expression in &found {
        demand(is_balanced(expression), format!("brackets of {expression}"));
    }
    let all = found.join("\n");
    for (section, function) in [("parameters", "parameters"), ("variables", "variables")] {
        let defined: BTreeSet<String> =
            template[section].as_object().unwrap().keys().cloned().collect();
        demand(
            defined == called(&all, function),
            format!("{section} defined and used: {defined:?}"),
        );
    }
    for (name, parameter) in template["parameters"].as_object().unwrap() {
        let kind = parameter["type"].as_str().unwrap_or_default();
        demand(["string", "int", "bool"].contains(&kind), format!("type of {name}"));
        let fits = match &parameter["defaultValue"] {
            Value::Null => true,
            Value::Number(_) => kind == "int",
            Value::String(_) => kind == "string",
            _ => false,
        };
        demand(fits, format!("default of {name}"));
    }
    let resources = template["resources"].as_array().unwrap();
    for resource in resources {
        for key in ["type", "apiVersion", "name", "location"] {
            demand(resource[key].is_string(), format!("{key} of {resource}"));
        }
        let version = resource["apiVersion"].as_str().unwrap_or_default();
        demand(version.len() >= 10 && version.starts_with("20"), format!("apiVersion {version}"));
        for on in resource["dependsOn"].as_array().into_iter().flatten() {
            let on = on.as_str().unwrap();
            let is_there = resources.iter().any(|other| {
                let (kind, name) =
                    (other["type"].as_str().unwrap(), other["name"].as_str().unwrap());
                on == format!("[resourceId('{kind}', '{name}')]")
            });
            demand(is_there, format!("dependsOn {on}"));
        }
    }
    faults
}

#[test]
fn azure_templates_have_the_structure_that_azure_demands() {
    let files = files(&Provider::built_in("azure").unwrap(), &values());
    let mut templates = 0;
    for file in files.iter().filter(|file| file.name.ends_with(".azuredeploy.json")) {
        let template: Value = serde_json::from_slice(&file.bytes).unwrap();
        assert_eq!(arm_faults(&template), Vec::<String>::new(), "{}", file.name);
        // Each fault is found.
        for (pointer, value) in [
            ("/contentVersion", json!("1")),
            ("/resources/0/name", json!("other")),
            ("/resources/0/apiVersion", Value::Null),
            ("/resources/2/location", json!("[resourceGroup(.location]")),
            ("/parameters/AgentCount/defaultValue", json!("5")),
            ("/variables/version", json!("[parameters('absent')]")),
        ] {
            let mut wrong = template.clone();
            *wrong.pointer_mut(pointer).unwrap() = value;
            assert!(!arm_faults(&wrong).is_empty(), "{pointer}");
        }
        templates += 1;
    }
    assert_eq!(templates, 2);
    let parameters = files.iter().find(|file| file.name.ends_with("parameters.json")).unwrap();
    let parameters: Value = serde_json::from_slice(&parameters.bytes).unwrap();
    assert_eq!(parameters["parameters"]["AgentCount"]["value"], json!(5));
}

#[test]
fn pages_launch_the_templates_of_all_variants() {
    let page = |name: &str, values: &Values, variants: &[(&str, &[&str])]| {
        let provider = Provider::built_in(name).unwrap();
        let variants: Vec<VariantFiles> = variants
            .iter()
            .map(|(variant, files)| VariantFiles {
                variant: (*variant).to_owned(),
                files: files.iter().map(|file| (*file).to_owned()).collect(),
            })
            .collect();
        let pages = provider.render_pages(values, &variants).unwrap();
        assert_eq!(pages.len(), 1);
        assert_eq!(pages[0].name, format!("{name}.html"));
        assert_eq!(pages[0].content_type.as_deref(), Some("text/html; charset=utf-8"));
        text(&pages[0]).to_owned()
    };
    let values = values();
    let aws = values.clone().release("provider", "aws");
    let file = "cloudformation/single-master.cloudformation.json";
    let of_ee = "cloudformation/ee.single-master.cloudformation.json";
    let shown = page("aws", &aws, &[("", &[file]), ("ee", &[of_ee])]);
    assert_eq!(shown.matches(">launch</a>").count(), 2 * 9);
    let url = "https%3A//s3.example.org/b/cloudformation/ee.single-master.cloudformation.json";
    assert!(
        shown.contains(&format!("region=sa-east-1#/stacks/create/review?templateURL={url}&amp;"))
    );
    assert!(shown.contains("version 1.0 &#39;a&#39; ${b}"), "{shown}");

    let azure = values.release("provider", "azure");
    let files = ["azure/dcos-1master.azuredeploy.json", "azure/dcos.azuredeploy.parameters.json"];
    let shown = page("azure", &azure, &[("", &files)]);
    let url = "https%3A%2F%2Fazure.example.org%2Ftesting%2Fcommit%2F1%2Fazure%2Fdcos-1master.azuredeploy.json";
    assert_eq!(shown.matches("<li>").count(), 1);
    assert!(shown.contains(&format!("#create/Microsoft.Template/uri/{url}\"")), "{shown}");
    let absent = azure.release("azure_download_url", "https://AZURE NOT CONFIGURED");
    let shown = page("azure", &absent, &[("", &files)]);
    assert!(
        shown.contains("No storage of this release has the name azure") && !shown.contains("<li>")
    );
}

#[test]
fn pages_know_no_values_of_one_variant() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    write("provider.yaml", "pages:\n  - {name: p.html, template: p.html}\n");
    for name in ["bootstrap_id", "cluster_packages", "nothing"] {
        write("p.html", &format!("<p>\n{{{{ {name} }}}}</p>\n"));
        let error = Provider::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("p.html:2:4: {name} is not known in pages")), "{error}");
    }
    write("p.html", "{% for variant in variants %}{{ variant.name }}{% endfor %}{{ commit }}");
    Provider::read(folder.path()).unwrap();
}

#[test]
fn rendering_twice_gives_the_same_and_other_values_give_other_packages() {
    for provider in ["aws", "azure", "onprem"] {
        let provider = Provider::built_in(provider).unwrap();
        let values = if provider.name() == "onprem" { onprem_values() } else { values() };
        let first = files(&provider, &values);
        assert_eq!(first, files(&provider, &values));
        let names = |files: &[ProviderFile]| -> BTreeSet<String> {
            let packages = files.iter().filter(|file| file.reproducible);
            packages.map(|file| file.name.clone()).collect()
        };
        let other = files(&provider, &values.release("version", "2.0"));
        assert!(names(&first).is_disjoint(&names(&other)), "{}", provider.name());
        let text: String = first.iter().map(|file| file.name.as_str()).collect();
        assert!(text.contains("package_lists/") && text.contains("dcos-config--setup_"), "{text}");
    }
}

#[test]
fn the_upgrade_script_has_no_part_in_the_packages() {
    let provider = Provider::built_in("onprem").unwrap();
    let plain = files(&provider, &onprem_values());
    let upgrade = files(&provider, &onprem_values().given("installed_version", "0.9"));
    assert_eq!(upgrade.len(), plain.len() + 1);
    assert!(plain.iter().all(|file| !file.reproducible || upgrade.contains(file)));
}
