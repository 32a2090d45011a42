//! Events of `tracing`, as a test hears them.

use std::fmt::Debug;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// A subscriber that gives events to a test. Spans have no meaning to it.
pub struct EventListener<W, H> {
    /// Whether events of a target are wanted.
    wants: W,
    hear: H,
}

impl<W, H> EventListener<W, H>
where
    W: Fn(&str) -> bool + Send + Sync + 'static,
    H: Fn(&Event<'_>) + Send + Sync + 'static,
{
    /// Gives each event to `hear` if `wants` says so of its target.
    pub fn new(wants: W, hear: H) -> Self {
        Self { wants, hear }
    }
}

impl<W, H> Subscriber for EventListener<W, H>
where
    W: Fn(&str) -> bool + Send + Sync + 'static,
    H: Fn(&Event<'_>) + Send + Sync + 'static,
{
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        (self.wants)(metadata.target())
    }

    fn event(&self, event: &Event<'_>) {
        (self.hear)(event);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// Returns a field of an event as text; empty if there is none.
pub fn field_text(event: &Event<'_>, name: &'static str) -> String {
    let mut field = FieldText { name, text: String::new() };
    event.record(&mut field);
    field.text
}

struct FieldText {
    name: &'static str,
    text: String,
}

impl Visit for FieldText {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == self.name {
            value.clone_into(&mut self.text);
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == self.name {
            self.text = format!("{value:?}");
        }
    }
}
