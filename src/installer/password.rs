//! Hashes of passwords for configurations, in the form of crypt(3): `$6$rounds=656000$<salt>$<hash>`.
//!
//! The form and the number of rounds are those of the original's installer, so that services which check
//! passwords for it accept these hashes. The algorithm is "Unix crypt using SHA-256 and SHA-512" (2016).

use std::fmt::Write as _;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use sha_crypt::{Params, sha512_crypt};

use super::error::InstallerError;

const ROUNDS: u32 = 656_000;

/// Length of salts, in characters: the longest that the algorithm takes.
const SALT: usize = 16;

/// Digits of crypt's base 64.
const DIGITS: &[u8; 64] = b"./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// Hashes a password, with a salt of its own.
pub fn hash_password(password: &str) -> Result<String, InstallerError> {
    if password.is_empty() {
        return Err(InstallerError::Password("it is empty"));
    }
    if password.contains('\0') {
        return Err(InstallerError::Password("it has a NUL, at which many programs end it"));
    }
    let mut random = [0; SALT];
    SystemRandom::new()
        .fill(&mut random)
        .map_err(|_unspecified| InstallerError::Password("the system gives no random bytes"))?;
    let salt = random.map(|byte| char::from(DIGITS[usize::from(byte % 64)]));
    hash(password, &salt.iter().collect::<String>(), ROUNDS)
}

fn hash(password: &str, salt: &str, rounds: u32) -> Result<String, InstallerError> {
    let parameters = Params::new(rounds)
        .map_err(|_range| InstallerError::Password("the number of rounds is out of range"))?;
    let sum = sha512_crypt(password.as_bytes(), salt.as_bytes(), parameters);
    let mut text = String::new();
    _ = write!(text, "$6$rounds={rounds}${salt}$");
    // Groups of three bytes, 21 apart, of which the first one moves on by one place each time.
    for group in 0..21 {
        let mut places = [group, group + 21, group + 42];
        places.rotate_left(group % 3);
        let [high, middle, low] = places.map(|place| u32::from(sum[place]));
        push_digits(&mut text, high << 16 | middle << 8 | low, 4);
    }
    push_digits(&mut text, u32::from(sum[63]), 2);
    Ok(text)
}

/// Adds the lowest digits of a number, the lowest first.
fn push_digits(text: &mut String, number: u32, count: u32) {
    let digit = |place: u32| DIGITS[(number >> (6 * place) & 63) as usize];
    text.extend((0..count).map(|place| char::from(digit(place))));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors of the algorithm's specification.
    #[test]
    fn hashes_are_those_of_crypt() {
        let vectors = [
            (
                "Hello world!",
                "saltstringsaltst",
                10_000,
                "OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/YTBmSK6H9qs/y3RnOaw5v.",
            ),
            (
                "the minimum number is still observed",
                "roundstoolow",
                1_000,
                "kUMsbe306n21p9R.FRkW3IGn.S9NPN0x50YhH1xhLsPuWGsUSklZt58jaTfF4ZEQpyUNGc0dqbpBYYBaHHrsX.",
            ),
        ];
        for (password, salt, rounds, expected) in vectors {
            let expected = format!("$6$rounds={rounds}${salt}${expected}");
            assert_eq!(hash(password, salt, rounds).unwrap(), expected);
        }
    }

    #[test]
    fn each_hash_has_a_salt_of_its_own_and_impossible_passwords_are_refused() {
        let (one, other) = (hash_password("a b").unwrap(), hash_password("a b").unwrap());
        assert_ne!(one, other);
        let salt = one.strip_prefix("$6$rounds=656000$").unwrap();
        assert_eq!((salt.find('$'), salt.len()), (Some(SALT), SALT + 1 + 86));
        for password in ["", "a\0b"] {
            assert!(matches!(hash_password(password), Err(InstallerError::Password(_))));
        }
    }
}
