//! Records that are given in code.

/// A record of a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Milliseconds since the Unix epoch.
    pub timestamp: Option<i64>,
}

impl From<&str> for Sample {
    fn from(value: &str) -> Self {
        Sample { value: Some(value.into()), ..Sample::default() }
    }
}

impl From<(&str, &str)> for Sample {
    fn from((key, value): (&str, &str)) -> Self {
        Sample { key: Some(key.into()), value: Some(value.into()), timestamp: None }
    }
}

impl From<Vec<u8>> for Sample {
    fn from(value: Vec<u8>) -> Self {
        Sample { value: Some(value), ..Sample::default() }
    }
}
