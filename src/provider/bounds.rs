//! Bounds of a provider: shape of its templates, and time and memory of its outputs.

use std::time::{Duration, Instant};

use minijinja::machinery::{Token, tokenize};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind};

use super::error::ProviderError;

/// Most tokens in an expression or statement of a template: minijinja parses, compiles and drops chains of operators
/// by recursion, whose depth nothing else bounds.
const MOST_TOKENS: usize = 1000;

/// Most `elif` in a template, each of which is nested in the one before.
const MOST_BRANCHES: usize = 300;

/// Refuses a template that cannot be parsed with a bounded stack. The tokens are the parser's own, so a tag ends
/// here where it ends for the parser.
pub(super) fn check_shape(text: &str, syntax: &SyntaxConfig) -> Result<(), Error> {
    let too_complex = |message: String| Err(Error::new(ErrorKind::SyntaxError, message));
    let (mut tokens, mut branches, mut begins) = (0_usize, 0_usize, false);
    // The parser stops at a text that has no token, too, and tells the place.
    for (token, _) in tokenize(text, false, syntax.clone()).map_while(Result::ok) {
        // Only at the beginning of a tag: elsewhere it is a name.
        branches += usize::from(begins && matches!(token, Token::Ident("elif")));
        begins = matches!(token, Token::BlockStart);
        tokens = match token {
            Token::TemplateData(_) | Token::VariableStart | Token::BlockStart => 0,
            _ => tokens + 1,
        };
        if tokens > MOST_TOKENS {
            return too_complex(format!(
                "an expression or statement has more than {MOST_TOKENS} words and operators"
            ));
        }
        if branches > MOST_BRANCHES {
            return too_complex(format!("there are more than {MOST_BRANCHES} elif in a template"));
        }
    }
    Ok(())
}

/// Most time and memory for all files of a provider together.
#[derive(Debug, Clone, Copy)]
pub(super) struct OutputLimits {
    /// Upper limit of all files together, in bytes: they are in memory until they are stored.
    pub(super) bytes: usize,
    /// Upper limit of the time for rendering. Loops of one file are bounded by minijinja's fuel; a loop may render
    /// files with loops of their own.
    pub(super) time: Duration,
}

impl OutputLimits {
    /// Limits of every provider.
    // The limits of one template are the engine's; a provider has any number of outputs.
    pub(super) const ALL: Self = Self { bytes: 256 << 20, time: Duration::from_secs(60) };
}

/// Rest of the limits while files are rendered.
#[derive(Debug)]
pub(super) struct RenderBudget<'p> {
    provider: &'p str,
    limits: OutputLimits,
    began: Instant,
    bytes: usize,
}

impl<'p> RenderBudget<'p> {
    pub(super) fn new(provider: &'p str, limits: OutputLimits) -> Self {
        Self { provider, limits, began: Instant::now(), bytes: 0 }
    }

    /// Counts a file that is rendered; `what` names the files in the error: outputs or pages.
    pub(super) fn count(&mut self, bytes: usize, what: &'static str) -> Result<(), ProviderError> {
        self.bytes = self.bytes.saturating_add(bytes);
        let problem = if self.bytes > self.limits.bytes {
            format!("have more than {} bytes together", self.limits.bytes)
        } else if self.began.elapsed() > self.limits.time {
            format!("take longer than {} s together", self.limits.time.as_secs())
        } else {
            return Ok(());
        };
        Err(ProviderError::Limit { provider: self.provider.to_owned(), what, problem })
    }
}
