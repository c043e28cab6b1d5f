//! Filter for gRPC: HTTP requests of other kinds are refused.
//!
//! This is also a protection: a page in a browser can send a POST of plain text to any server whose certificate the browser
//! trusts, but not one of gRPC's content type.

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};

/// The answer to a request that is no call.
pub(super) fn refuse<B: Default>(request: &Request<impl Sized>) -> Option<Response<B>> {
    let mut response = Response::new(B::default());
    if request.method() != Method::POST {
        *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("POST"));
        return Some(response);
    }
    if !request.headers().get(CONTENT_TYPE).is_some_and(is_grpc) {
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Some(response);
    }
    None
}

fn is_grpc(content_type: &HeaderValue) -> bool {
    let essence = content_type.as_bytes().split(|byte| *byte == b';').next();
    matches!(
        essence.map(<[u8]>::trim_ascii),
        Some(b"application/grpc" | b"application/grpc+proto")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_grpc_over_post_is_a_call() {
        for (method, content_type, expected) in [
            ("POST", Some("application/grpc"), None),
            ("POST", Some("application/grpc+proto"), None),
            ("POST", Some("application/grpc ; x=y"), None),
            ("GET", Some("application/grpc"), Some(405)),
            ("CONNECT", Some("application/grpc"), Some(405)),
            ("POST", Some("text/plain"), Some(415)),
            ("POST", Some("application/grpc-web"), Some(415)),
            ("POST", Some("application/json"), Some(415)),
            ("POST", None, Some(415)),
        ] {
            let mut request = Request::builder().method(method);
            if let Some(content_type) = content_type {
                request = request.header(CONTENT_TYPE, content_type);
            }
            let refused = refuse::<()>(&request.body(()).unwrap());
            assert_eq!(
                refused.map(|response| response.status().as_u16()),
                expected,
                "{method} {content_type:?}"
            );
        }
    }
}
