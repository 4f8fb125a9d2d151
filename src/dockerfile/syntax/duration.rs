//! Durations of HEALTHCHECK, in Go's format: `1m30s`, `1.5h`, `500ms`.

/// Lower limit of a duration other than 0, as in Docker: a millisecond, in nanoseconds.
const SHORTEST: u64 = 1_000_000;

/// Parses a duration to nanoseconds; `None` if not valid. 0 means the value of the base image, or else of
/// the runtime.
pub(super) fn parse(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let mut total: u64 = 0;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(end);
        let end = after
            .find(|letter: char| letter.is_ascii_digit() || letter == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        total = total.checked_add(part(number, nanoseconds(unit)?)?)?;
        rest = after;
    }
    // Go's durations are 64-bit numbers with a sign, and other builders read them back as such.
    (total == 0 || total >= SHORTEST && i64::try_from(total).is_ok()).then_some(total)
}

fn nanoseconds(unit: &str) -> Option<u64> {
    Some(match unit {
        "ns" => 1,
        // With the micro sign (U+00B5), or the Greek letter (U+03BC).
        "us" | "µs" | "μs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    })
}

fn part(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let digits = |text: &str| if text.is_empty() { Some(0) } else { text.parse::<u64>().ok() };
    // Further digits count less than 4 µs, even of an hour, and could overflow.
    let fraction: String = fraction.chars().take(9).collect();
    let scale = 10_u64.pow(u32::try_from(fraction.len()).ok()?);
    let small = u128::from(digits(&fraction)?) * u128::from(unit) / u128::from(scale);
    digits(whole)?.checked_mul(unit)?.checked_add(u64::try_from(small).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_parts_and_fractions() {
        for (text, milliseconds) in [
            ("30s", 30_000),
            ("1m30s", 90_000),
            ("1.5h", 5_400_000),
            ("500ms", 500),
            (".5s", 500),
            ("0", 0),
            ("0s", 0),
        ] {
            assert_eq!(parse(text), Some(milliseconds * 1_000_000), "{text}");
        }
        for bad in ["", "30", "s", "-1s", "1x", "1s2", "1us", ".s", "99999999999999h", "1.2.3s"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
