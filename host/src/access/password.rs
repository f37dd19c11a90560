//! Passwords, kept as argon2id.

use std::sync::OnceLock;

use argon2::Argon2;
use argon2::password_hash::{PasswordHash, PasswordHasher, PasswordVerifier, SaltString};

use super::error::AccessError;

/// Fewest characters of a password.
pub const MIN_PASSWORD: usize = 10;
/// Most bytes of a password.
const MAX_PASSWORD: usize = 1000;

/// The hash to keep. Takes some 50 ms and 19 MiB.
///
/// # Errors
/// When the password is too short or too long.
pub fn hash(password: &str) -> Result<String, AccessError> {
    if password.chars().count() < MIN_PASSWORD {
        return Err(AccessError::WeakPassword);
    }
    if password.len() > MAX_PASSWORD {
        return Err(AccessError::LongPassword);
    }
    make(password).map_err(|error| AccessError::Hash(error.to_string()))
}

fn make(password: &str) -> Result<String, argon2::password_hash::Error> {
    let salt = SaltString::encode_b64(&rand::random::<[u8; 16]>())?;
    Ok(Argon2::default().hash_password(password.as_bytes(), &salt)?.to_string())
}

/// Whether a password is the one that is kept. Takes as long when none is kept, so that this can't be told by the time.
pub fn verify(password: &str, kept: Option<&str>) -> bool {
    static NOBODYS: OnceLock<Option<String>> = OnceLock::new();
    if password.len() > MAX_PASSWORD {
        return false;
    }
    let nobodys = || NOBODYS.get_or_init(|| make("nobody's").ok()).as_deref();
    let Some(hash) = kept.or_else(nobodys) else {
        return false;
    };
    let verified =
        PasswordHash::new(hash).and_then(|hash| Argon2::default().verify_password(password.as_bytes(), &hash));
    verified.is_ok() && kept.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_kept_as_argon2id_with_a_salt_of_its_own() {
        let (one, two) = (hash("correct horse").unwrap(), hash("correct horse").unwrap());
        assert!(one.starts_with("$argon2id$") && one != two);
        assert!(verify("correct horse", Some(&one)) && !verify("correct horsE", Some(&one)));
        assert!(!verify("correct horse", None) && !verify("nobody's", None));
        assert!(!verify("correct horse", Some("nonsense")));
    }

    #[test]
    fn short_and_endless_passwords_are_refused() {
        assert!(matches!(hash("123456789"), Err(AccessError::WeakPassword)));
        assert!(matches!(hash(&"x".repeat(1001)), Err(AccessError::LongPassword)));
        assert!(hash("äöüäöüäöüä").is_ok());
    }
}
