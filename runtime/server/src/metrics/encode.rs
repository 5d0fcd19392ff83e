//! All counts as `OpenMetrics` text, which Prometheus reads. Asks for numbers, and counts nothing itself.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use tidemill_bus::Store;
use tidemill_bus::store::{LATENCY_BOUNDS_US, Metrics};
use tidemill_flow::Flow;
use tidemill_flow::status::{HandlerStatus, Histogram};

use super::Counters;

/// Everything that is counted, as text.
pub fn encode(counters: &Counters, store: &Store, flow: &Flow) -> Result<String, fmt::Error> {
    let mut registry = prometheus_client::registry::Registry::with_prefix("tidemill");
    let snapshot = Snapshot {
        published: [counters.published_requests(), counters.published_events(), counters.published_bytes()],
        read_events: counters.read_events(),
        store: store.metrics(),
        handlers: flow.status(),
    };
    registry.register_collector(Box::new(snapshot));
    let mut encoded = String::new();
    text::encode(&mut encoded, &registry)?;
    Ok(encoded)
}

/// The numbers of one moment.
#[derive(Debug)]
struct Snapshot {
    published: [u64; 3],
    read_events: u64,
    store: Metrics,
    handlers: Vec<HandlerStatus>,
}

impl prometheus_client::collector::Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.api(&mut encoder)?;
        self.store(&mut encoder)?;
        self.handlers(&mut encoder)?;
        self.lags(&mut encoder)?;
        self.histograms(&mut encoder)
    }
}

impl Snapshot {
    fn api(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let [requests, events, bytes] = self.published;
        counter(encoder, "published_requests", "requests that published events", requests)?;
        counter(encoder, "published_events", "events published over the API", events)?;
        counter(encoder, "published_bytes", "bytes of the bodies that published events", bytes)?;
        counter(encoder, "read_events", "events sent to readers of the API", self.read_events)
    }

    fn store(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let store = &self.store;
        counter(encoder, "store_events", "events committed", store.events)?;
        counter(encoder, "store_transactions", "transactions committed", store.committed)?;
        counter(encoder, "store_aborts", "transactions aborted", store.aborted)?;
        counter(encoder, "store_frames", "group commits written", store.frames)?;
        counter(encoder, "store_frame_bytes", "bytes of group commits written", store.frame_bytes)?;
        counter(encoder, "store_syncs", "syncs of the journal", store.syncs)?;
        counter(encoder, "store_sync_microseconds", "time that syncs took", store.sync_us)?;
        counter(encoder, "store_checkpoints", "checkpoints of the tables", store.checkpoints)?;
        counter(encoder, "store_segments_released", "segments given up", store.segments_released)?;
        counter(
            encoder,
            "store_segments_settled",
            "segments rewritten without what may go",
            store.segments_settled,
        )?;
        counter(
            encoder,
            "store_segments_joined",
            "segments joined with the one before",
            store.segments_joined,
        )?;
        counter(
            encoder,
            "store_lost_events",
            "events that went before a group read them",
            store.events_lost,
        )?;
        gauge(encoder, "store_journal_bytes", "bytes of all segments", store.journal_bytes)?;
        gauge(
            encoder,
            "store_overlay_bytes",
            "bytes of rows that wait for a checkpoint",
            store.overlay_bytes,
        )?;
        gauge(encoder, "store_tail_bytes", "bytes of recent blocks in memory", store.tail_bytes)?;
        gauge(encoder, "store_queued_transactions", "transactions that wait", store.queued)?;
        gauge(encoder, "store_queued_bytes", "bytes of transactions that wait", store.queued_bytes)?;
        let bounds = LATENCY_BOUNDS_US.iter().map(|&bound| seconds(bound)).chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(store.commit_latency).collect();
        let count = store.commit_latency.iter().sum();
        let help = "time from handing a transaction in to its answer";
        let mut metric =
            encoder.encode_descriptor("store_commit_seconds", help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(seconds(store.commit_latency_sum_us), count, &buckets, None)
    }

    fn handlers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Count = (&'static str, &'static str, fn(&HandlerStatus) -> u64);
        let counts: [Count; 8] = [
            ("handler_events_in", "events settled", |handler| handler.counters.events_in),
            ("handler_events_out", "events emitted", |handler| handler.counters.events_out),
            ("handler_batches", "calls made", |handler| handler.counters.batches),
            ("handler_retries", "attempts that were followed by another", |handler| handler.counters.retries),
            ("handler_aborts", "transactions aborted", |handler| handler.counters.aborts),
            ("handler_dead_letters", "events given up", |handler| handler.counters.dead_letters),
            ("handler_dropped", "events dropped by policy", |handler| handler.counters.dropped),
            ("handler_lost", "offsets that went before they were read", |handler| handler.counters.lost),
        ];
        for (name, help, count) in counts {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for handler in &self.handlers {
                let labels = labels(handler);
                let mut one = metric.encode_family(&labels)?;
                one.encode_counter::<NoLabelSet, _, u64>(&count(handler), None)?;
            }
        }
        let help = "calls that failed as a whole, by what went wrong";
        let mut metric = encoder.encode_descriptor("handler_faults", help, None, MetricType::Counter)?;
        for handler in &self.handlers {
            for (kind, count) in &handler.counters.faults {
                let labels = [("handler", &*handler.name), ("kind", *kind)];
                metric.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(count, None)?;
            }
        }
        Ok(())
    }

    fn lags(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Measure = (&'static str, &'static str, fn(&HandlerStatus) -> u64);
        let measures: [Measure; 3] = [
            ("handler_lag", "events waiting, as far as offsets tell", |handler| {
                handler.partitions.iter().map(|partition| partition.lag).sum()
            }),
            ("handler_instances", "instances alive", |handler| handler.instances as u64),
            ("handler_memory_bytes", "linear memory of its instances", |handler| handler.memory_bytes as u64),
        ];
        for (name, help, measure) in measures {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for handler in &self.handlers {
                metric.encode_family(&labels(handler))?.encode_gauge(&measure(handler))?;
            }
        }
        Ok(())
    }

    fn histograms(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        type Take = fn(&HandlerStatus) -> &Histogram;
        let histograms: [(&str, &str, f64, Take); 3] = [
            ("handler_batch_events", "events of a call", 1.0, |handler| &handler.counters.batch_events),
            ("handler_call_seconds", "time of a call", 1e-6, |handler| &handler.counters.call_us),
            ("handler_commit_seconds", "time from handing in to answer", 1e-6, |handler| {
                &handler.counters.commit_us
            }),
        ];
        for (name, help, unit, take) in histograms {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for handler in &self.handlers {
                let histogram = take(handler);
                let labels = labels(handler);
                let mut one = metric.encode_family(&labels)?;
                let buckets = buckets(histogram, unit);
                let sum = approximate(histogram.sum) * unit;
                one.encode_histogram::<NoLabelSet>(sum, histogram.count(), &buckets, None)?;
            }
        }
        Ok(())
    }
}

/// What tells the handlers' numbers apart.
fn labels(handler: &HandlerStatus) -> [(&str, &str); 1] {
    [("handler", &handler.name)]
}

fn counter(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
    prometheus_client::metrics::counter::ConstCounter::new(value).encode(metric)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> fmt::Result {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
}

/// The classes of a histogram as buckets, the last without a bound.
fn buckets(histogram: &Histogram, unit: f64) -> Vec<(f64, u64)> {
    let bound = |class: usize| {
        if class + 1 == Histogram::CLASSES { f64::MAX } else { approximate(1 << class) * unit }
    };
    histogram.classes.iter().enumerate().map(|(class, &count)| (bound(class), count)).collect()
}

fn seconds(microseconds: u64) -> f64 {
    approximate(microseconds) / 1e6
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus has floats only")]
fn approximate(number: u64) -> f64 {
    number as f64
}
