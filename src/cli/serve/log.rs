//! The log: a line for each event on standard error, as text on a terminal and as JSON elsewhere. Times are UTC. Lines that
//! are written for a call say which, and who makes it.

use std::fmt;
use std::io::{self, IsTerminal};

use clap::{Args, ValueEnum};
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{Directive, LevelFilter};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, layer};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::cli::Failure;
use crate::server::context::CallContext;
use crate::server::telemetry::trace;

/// See the module's page.
#[derive(Debug, Clone, Args)]
pub(super) struct LogArgs {
    /// What to log: a level, or a filter such as `info,article_store=debug`. `article_store::rpc=debug` adds a line for each
    /// call that succeeds; those that fail have one anyway, up to 100 a second.
    #[arg(long, value_name = "FILTER", default_value = "info,h2=error")]
    pub(super) log: String,
    /// The form of the log: `auto` is text on a terminal and JSON elsewhere.
    #[arg(long, value_enum, default_value_t = LogFormat::Auto)]
    log_format: LogFormat,
}

/// See [`LogArgs::log_format`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// For people.
    Text,
    /// An object a line.
    Json,
}

impl LogArgs {
    /// Starts the log, and beside it what takes the spans of traces.
    pub(super) fn start(
        &self,
        traces: Option<impl Layer<tracing_subscriber::Registry> + Send + Sync>,
    ) -> Result<(), Failure> {
        let filter = EnvFilter::try_new(&self.log)
            .map_err(|error| Failure::Usage(format!("--log {:?}: {error}", self.log)))?;
        let is_terminal = io::stderr().is_terminal();
        let form = match self.log_format {
            LogFormat::Auto if is_terminal => Form::Text { colours: true },
            LogFormat::Text => Form::Text { colours: is_terminal },
            LogFormat::Auto | LogFormat::Json => Form::Json,
        };
        let lines = layer()
            .event_format(form)
            .with_writer(io::stderr)
            .with_ansi(false)
            .with_filter(filter.add_directive(no_spans_of_traces()));
        let started = tracing_subscriber::registry().with(traces).with(lines).try_init();
        started.map_err(|error| Failure::failed(format!("the log cannot start: {error}")))
    }
}

/// Spans that are not wanted cost nothing.
fn no_spans_of_traces() -> Directive {
    let everything_off = Directive::from(LevelFilter::OFF);
    format!("{}=off", trace::TARGET).parse().unwrap_or(everything_off)
}

/// The form of a line.
enum Form {
    Text { colours: bool },
    Json,
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        // The line about a call itself names it.
        let names_call = event.metadata().fields().field("request_id").is_some();
        let call = CallContext::current().filter(|_| !names_call);
        match self {
            Self::Text { colours } => {
                let mut line = String::new();
                let format = Format::default().with_ansi(*colours);
                format.format_event(context, Writer::new(&mut line), event)?;
                write!(writer, "{}", line.trim_end())?;
                if let Some(call) = call {
                    write!(writer, " request_id={}", call.request_id)?;
                    if let Some(principal) = call.principal() {
                        write!(writer, " principal={principal}")?;
                    }
                }
            }
            Self::Json => write!(writer, "{}", json(event, call.as_deref()))?,
        }
        writeln!(writer)
    }
}

/// An event as one flat object.
fn json(event: &Event<'_>, call: Option<&CallContext>) -> Value {
    let mut time = String::new();
    // A clock that cannot be read leaves its field empty.
    let _ = SystemTime.format_time(&mut Writer::new(&mut time));
    let mut line = Map::new();
    let mut put = |key: &str, value: &str| line.insert(key.into(), value.into());
    put("timestamp", &time);
    put("level", event.metadata().level().as_str());
    if let Some(call) = call {
        put("request_id", &call.request_id);
        call.principal().map(|principal| put("principal", principal));
    }
    event.record(&mut Fields(&mut line));
    line.insert("target".into(), event.metadata().target().into());
    Value::Object(line)
}

/// Puts the fields of an event into an object.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().into(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}
