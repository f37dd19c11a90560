//! Random secrets, and what is kept of them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq;

use crate::files::hash::hex;

/// How tokens begin, so that scanners for leaked secrets find them.
const TOKEN: &str = "msk";
/// Bytes of randomness in a secret.
const BYTES: usize = 24;

/// SHA-256 of a secret. Secrets have 192 random bits or come from a person's settings, so that a slow hash adds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of a secret's text.
    pub fn of(text: &str) -> Self {
        Self(Sha256::digest(text.as_bytes()).into())
    }

    /// Compares in constant time.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&hex(&self.0))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let mut bytes = [0; 32];
        let pairs = text.as_bytes().chunks(2);
        let is_digest = text.len() == 64
            && pairs.zip(&mut bytes).all(|(pair, byte)| {
                let value = std::str::from_utf8(pair)
                    .ok()
                    .and_then(|pair| u8::from_str_radix(pair, 16).ok());
                value.is_some_and(|value| {
                    *byte = value;
                    true
                })
            });
        match is_digest {
            true => Ok(Self(bytes)),
            false => Err(serde::de::Error::custom("a digest has 64 hexadecimal digits")),
        }
    }
}

/// A new secret: its text is shown once, its digest is kept.
pub struct Secret {
    /// Public part, by which its entry is found.
    pub id: String,
    /// The whole text.
    pub text: String,
    /// Digest of the whole text.
    pub digest: Digest,
}

impl Secret {
    /// Random text of 192 bits.
    pub fn random() -> String {
        hex(&rand::random::<[u8; BYTES]>())
    }

    /// A token: `msk_ID_SECRET`.
    pub fn new_token() -> Self {
        Self::with(|id, random| format!("{TOKEN}_{id}_{random}"))
    }

    /// The value of a session cookie: `ID.SECRET`.
    pub fn new_session() -> Self {
        Self::with(|id, random| format!("{id}.{random}"))
    }

    fn with(text: impl FnOnce(&str, &str) -> String) -> Self {
        let id = format!("{:08x}", rand::random::<u32>());
        let text = text(&id, &Self::random());
        Self {
            digest: Digest::of(&text),
            id,
            text,
        }
    }

    /// The id and digest of what has the form of a token.
    pub fn parse_token(text: &str) -> Option<(&str, Digest)> {
        let (id, _) = text.strip_prefix(TOKEN)?.strip_prefix('_')?.split_once('_')?;
        Some((id, Digest::of(text)))
    }

    /// The id and digest of what has the form of a session cookie.
    pub fn parse_session(text: &str) -> Option<(&str, Digest)> {
        let (id, _) = text.split_once('.')?;
        Some((id, Digest::of(text)))
    }
}
