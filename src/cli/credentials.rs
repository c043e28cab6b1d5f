//! The token that client commands call with. It comes from a file or from the environment, never from the command line,
//! which every user of the machine can read.

use std::env;
use std::fs;
use std::path::PathBuf;

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use super::Failure;

/// The variable with the token, if there is no file.
pub(crate) const TOKEN_VARIABLE: &str = "ARTICLE_STORE_TOKEN";

/// Adds a token to every call, if there is one.
#[derive(Debug, Clone)]
pub(crate) struct Credentials(Source);

#[derive(Debug, Clone)]
enum Source {
    Nothing,
    Token(MetadataValue<Ascii>),
    /// Read again for each call, for tokens that are renewed while a command runs.
    File(PathBuf),
}

impl Credentials {
    /// From this file, or else from the environment.
    pub(crate) fn new(file: Option<PathBuf>) -> Result<Self, Failure> {
        let source = match (file, env::var(TOKEN_VARIABLE)) {
            (Some(file), _) => {
                read(&file).map_err(Failure::Failed)?;
                Source::File(file)
            }
            (None, Ok(token)) if !token.trim().is_empty() => {
                let header =
                    header(&token).ok_or(Failure::Usage(format!("{TOKEN_VARIABLE} holds no token")))?;
                Source::Token(header)
            }
            (None, _) => Source::Nothing,
        };
        Ok(Self(source))
    }

    /// Whether there is a token.
    pub(crate) fn is_given(&self) -> bool {
        !matches!(self.0, Source::Nothing)
    }
}

impl Interceptor for Credentials {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        let header = match &self.0 {
            Source::Nothing => return Ok(request),
            Source::Token(header) => header.clone(),
            Source::File(file) => read(file).map_err(Status::unauthenticated)?,
        };
        request.metadata_mut().insert("authorization", header);
        Ok(request)
    }
}

fn read(file: &PathBuf) -> Result<MetadataValue<Ascii>, String> {
    let name = file.display();
    let token =
        fs::read_to_string(file).map_err(|error| format!("the token file {name} cannot be read: {error}"))?;
    header(&token).ok_or_else(|| format!("the token file {name} holds no token"))
}

/// The header of a token, with whatever blanks and line breaks stand around it.
fn header(token: &str) -> Option<MetadataValue<Ascii>> {
    let token = token.trim();
    let is_token = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    let mut header: MetadataValue<Ascii> = is_token.then(|| format!("Bearer {token}").parse().ok())??;
    header.set_sensitive(true);
    Some(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(
            header(" as_x.y-z=\n").unwrap().to_str().unwrap(),
            "Bearer as_x.y-z="
        );
        for text in ["", " \n", "two words", "a\nb", "é"] {
            assert!(header(text).is_none(), "{text:?}");
        }
        assert!(!format!("{:?}", header("secret")).contains("secret"));
    }
}
