#![allow(missing_docs, clippy::all, clippy::pedantic, reason = "temporary")]
use std::{process::{Command, Stdio}, time::{Duration, Instant}, io::{BufRead, BufReader}};
use ai_inference_proto::*;
use reference_sidecar::{backends::{Backend, Row, onnx::*}, engine::*, models::Package, config::cache_dir};
use tonic::{client::Grpc, transport::Endpoint, Request};
fn bare(b: &mut OnnxBackend, n: usize, steps: usize) -> f64 {
    let ids: Vec<i64> = (0..13).map(|i| 100 + i * 37).collect();
    for s in 0..n { b.prefill(s, 0, &ids).unwrap(); }
    let mut rows = vec![Row { token: 100, past: 13 }; n];
    let mut t = Instant::now();
    for k in 0..steps + 3 { if k == 3 { t = Instant::now(); }
        let lg = b.decode(&rows).unwrap();
        for (r, l) in rows.iter_mut().zip(lg.chunks(49152)) { let m = l.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0; r.token = m as i64; r.past += 1; }
    }
    (n * steps) as f64 / t.elapsed().as_secs_f64()
}
fn samp(greedy: bool, n: usize) -> SamplingParameters { SamplingParameters { max_new_tokens: n, temperature: if greedy {0.01} else {0.7}, top_p: if greedy {0.001} else {0.9}, repetition_penalty: 1.0 } }
fn engine(e: &EngineHandle, n: usize, steps: usize, greedy: bool) -> f64 {
    let ids: Vec<i64> = (0..13).map(|i| 100 + i * 37).collect();
    let rs: Vec<_> = (0..n).map(|i| e.submit(Job { prompt: ids.clone(), priority: 0, sampling: samp(greedy, steps), seed: i as u64 }).unwrap()).collect();
    let h: Vec<_> = rs.into_iter().map(|mut r| std::thread::spawn(move || { let mut c = 0; let mut f = None; while r.blocking_next().is_some() { f.get_or_insert(Instant::now()); c += 1; } (c, f.unwrap(), Instant::now()) })).collect();
    let v: Vec<_> = h.into_iter().map(|h| h.join().unwrap()).collect();
    let start = v.iter().map(|x| x.1).max().unwrap(); let end = v.iter().map(|x| x.2).max().unwrap();
    let _ = start; let first = v.iter().map(|x| x.1).min().unwrap();
    v.iter().map(|x| x.0 - 1).sum::<i32>() as f64 / (end - first).as_secs_f64()
}
#[tokio::main]
async fn main() {
    let rt = Runtime::load(None).unwrap();
    let pk = Package::open(&cache_dir().unwrap().join("models/smollm2")).unwrap();
    let o = |slots| OnnxOptions { provider: Provider::Cpu, slots, threads: 2 };
    let mut b = OnnxBackend::load(&rt, &pk, o(16)).unwrap();
    let e = EngineHandle::start("x", OnnxBackend::load(&rt, &pk, o(16)).unwrap(), EngineOptions { queue: 64, prefill_chunk: 128, ahead: 4096, end_of_text: vec![] }).unwrap();
    let mut child = Command::new("target/release/reference-sidecar").args(["serve", "--default-model", "smollm2", "--listen", "unix:///tmp/rs_bench.sock"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut l = String::new(); BufReader::new(child.stdout.take().unwrap()).read_line(&mut l).unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    let ch = Endpoint::from_static("unix:///tmp/rs_bench.sock").connect().await.unwrap();
    for round in 0..3 { for n in [1usize, 8, 16] {
        let steps = 64;
        let x = bare(&mut b, n, steps);
        let y = engine(&e, n, steps, true);
        let z = engine(&e, n, steps, false);
        let mut rates = vec![];
        for greedy in [true, false] {
            let p = samp(greedy, steps);
            let hs: Vec<_> = (0..n).map(|i| { let ch = ch.clone(); tokio::spawn(async move {
                let mut g = Grpc::new(ch); g.ready().await.unwrap();
                let r = contract::StreamPredictRequest::from(GenerationRequest { prompt: "The history of the city begins in the early part of the century".into(), sampling: Some(Sampling { max_new_tokens: p.max_new_tokens as i64, temperature: p.temperature as f64, top_p: p.top_p as f64, repetition_penalty: 1.0 }), metadata: Some(Metadata { trace_id: i.to_string(), ..Default::default() }), ..Default::default() });
                let mut s = g.streaming(Request::new(tokio_stream::once(r)), "/AiInference/StreamPredict".parse().unwrap(), tonic_prost::ProstCodec::<contract::StreamPredictRequest, contract::StreamPredictResponse>::new()).await.unwrap().into_inner();
                let mut c = 0; let mut f = None; let mut last = Instant::now();
                while let Some(m) = s.message().await.unwrap() { if !m.end_of_stream { c += 1; f.get_or_insert(Instant::now()); last = Instant::now(); } }
                (c, f.unwrap(), last) }) }).collect();
            let mut v = vec![]; for h in hs { v.push(h.await.unwrap()); }
            let first = v.iter().map(|x| x.1).min().unwrap(); let end = v.iter().map(|x| x.2).max().unwrap();
            rates.push(v.iter().map(|x| x.0 - 1).sum::<i32>() as f64 / (end - first).as_secs_f64());
        }
        println!("round {round} n={n}: bare {x:.0} engine greedy {y:.0} sampled {z:.0} | grpc greedy {:.0} sampled {:.0}", rates[0], rates[1]);
    } }
    child.kill().unwrap(); let _ = std::fs::remove_file("/tmp/rs_bench.sock");
}
