//! Scripts with values at places of all kinds.

use super::*;

/// Checks a script in which `@@` stands for a value.
fn is_taken(script: &str) -> bool {
    let text = script.replace("@@", &crate::provider::token::token('\'', 0));
    check(&text, &[Value::from("v")]).is_ok()
}

#[test]
fn values_stand_where_a_command_begins() {
    for script in [
        "A=@@\n",
        "A=@@",
        "  export A=@@\n",
        "readonly A=@@\nset -- @@ \"$@\"\n",
        "f() {\n  A=@@\n}\n",
        "echo \"it's\" 'a \"' # it's\nA=@@\n",
        "echo $# a#' ${#x} \" '\nA=@@\n",
        "echo \"${a##*/}\" \"$(echo \")\")\"\nA=@@\n",
        "x=$(case a in a) echo \"x\" ;; esac)\nA=@@\n",
        "x=$((1 << 2))\nA=@@\n",
        "echo `echo a`\nA=@@\n",
        "cat << 'END'\nit's \"\nEND\nA=@@\n",
        "cat <<- END; cat << \"E 2\"\n\tit's\n\tEND\nE 2 \nE 2\nA=@@\n",
        "x=$(cat << E\n)\"\nE\n)\nA=@@\n",
        "a |\nA=@@\n",
        "case $x in\n  a*)\n    A=@@\n    ;;\nesac\n",
        "echo \\\" \\' \\#\nA=@@\n",
    ] {
        assert!(is_taken(script), "{script}");
    }
}

#[test]
fn values_within_something_else_are_refused() {
    for script in [
        "echo '\nA=@@\n'\n",
        "echo \"\nA=@@\n\"\n",
        "sh -c '\nA=@@\n'\n",
        "cat << END\nA=@@\nEND\n",
        "cat << 'END'\nA=@@\nEND\n",
        "cat <<- END\n END\nA=@@\n\tEND\n",
        "cat << a << b\nb\na\nA=@@\nb\n",
        "x=$(\nA=@@\n)\n",
        "x=`\nA=@@\n`\n",
        "x=${y:-\nA=@@\n}\n",
        "x=\"${y:-\nA=@@\n}\"\n",
        "eval \\\nA=@@\n",
        "echo a#\\\n# it's\nA=@@\n'\n",
        "x=$((\nA=@@\n))\n",
        "echo a\\\n# '\nA=@@\n'\n",
        // What shells read differently.
        "x=$'it\\'s'\nA=@@\n",
        "x=\"${y:-'}\"\nA=@@\n",
        "cat <<< it\nA=@@\n",
        "((1 << 2))\nA=@@\n",
        "cat << E\na \\\nE\nA=@@\nE\n",
        "cat << E '\n'\nE\nA=@@\n",
        "cat << E\nA=@@",
        "cat << E\n$(cat << F\nE\nA=@@\nF\n)\nE\n",
        "x=`echo '`\nA=@@\n",
        // Other spaces than a shell's.
        "\u{a0}A=@@\n",
        "A=@@\r\n",
        "A=@@\u{2003}\n",
    ] {
        assert!(!is_taken(script), "{script}");
    }
}
