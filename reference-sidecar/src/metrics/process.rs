//! `process_*`: the figures that Prometheus' own libraries give, on Linux, where the kernel tells them.

use std::fmt;

use prometheus_client::{collector::Collector, encoding::DescriptorEncoder};

/// Reads them at each scrape.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        #[cfg(target_os = "linux")]
        linux::encode(encoder)?;
        #[cfg(not(target_os = "linux"))]
        drop(encoder);
        Ok(())
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::fmt;

    use procfs::{ProcResult, WithCurrentSystemInfo as _, process};
    use prometheus_client::{
        encoding::{DescriptorEncoder, EncodeMetric as _},
        metrics::{counter::ConstCounter, gauge::ConstGauge},
    };

    pub(super) fn encode(mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        // A kernel that tells nothing is no reason to tell nothing of the sidecar.
        let Ok(now) = Now::read() else { return Ok(()) };
        let Now { resident, started, cpu, files } = now;
        let mut gauge = |name, help, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        gauge("process_resident_memory_bytes", "Memory that is in use", resident)?;
        gauge("process_start_time_seconds", "Start of the process since the epoch", started)?;
        gauge("process_open_fds", "Open files and sockets", files)?;
        let cpu = ConstCounter::new(cpu);
        let help = "Processor time used";
        cpu.encode(encoder.encode_descriptor("process_cpu_seconds", help, None, cpu.metric_type())?)
    }

    struct Now {
        resident: f64,
        started: f64,
        cpu: f64,
        files: f64,
    }

    impl Now {
        fn read() -> ProcResult<Self> {
            let process = process::Process::myself()?;
            let stat = process.stat()?;
            let ticks = procfs::ticks_per_second() as f64;
            Ok(Self {
                resident: stat.rss_bytes().get() as f64,
                started: procfs::boot_time_secs()? as f64 + stat.starttime as f64 / ticks,
                cpu: (stat.utime + stat.stime) as f64 / ticks,
                files: process.fd_count()? as f64,
            })
        }
    }
}
