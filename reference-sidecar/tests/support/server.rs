//! The real binary, started on private addresses, and a client of either dialect.

use std::{
    io::{BufRead as _, BufReader},
    marker::PhantomData,
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use ai_inference_proto::{
    ControlMessage, GenerationRequest, GenerationResponse, HealthAnswer, Metadata, WireDialect, contract,
};
use tokio_stream::{Stream, StreamExt as _};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::greedy;

/// A running sidecar with the tiny model; killed when dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) addresses: Vec<String>,
    pub(crate) socket: PathBuf,
}

impl Server {
    /// On a Unix socket and a TCP port of its own.
    pub(crate) fn start(args: &[&str]) -> Self {
        let socket = fresh_socket();
        Self::start_at(socket, args, &[])
    }

    pub(crate) fn start_at(socket: PathBuf, args: &[&str], environment: &[(&str, &str)]) -> Self {
        // A line for each generation is too much for a test's output.
        let mut child = command(args, environment)
            .env("SIDECAR_LOG", "warn")
            .arg(format!("--listen=unix://{}", socket.display()))
            .arg("--listen=127.0.0.1:0")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addresses: Vec<_> = lines
            .take(2)
            .map(|line| line.unwrap().strip_prefix("listening on ").unwrap().to_owned())
            .collect();
        assert_eq!(addresses.len(), 2, "the server did not start: see its log above");
        Self { child, addresses, socket }
    }

    /// A client on the Unix socket.
    pub(crate) async fn client<W: WireDialect>(&self) -> Client<W> {
        Client::connect(&self.addresses[0]).await
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Its exit code, waited for without holding the runtime up.
    pub(crate) async fn exit(&mut self) -> Option<i32> {
        for _ in 0..1000 {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the server did not exit within 10 s");
    }

    /// Its exit code, if it has ended.
    pub(crate) fn exit_now(&mut self) -> Option<i32> {
        self.child.try_wait().unwrap().map(|status| status.code().unwrap_or(-1))
    }

    /// Gone without a chance to clean up.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

/// `serve` with the tiny model, without a token but the one that the test sets.
pub(crate) fn command(args: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reference-sidecar"));
    command
        .env_remove("CY_LLM_INTERNAL_TOKEN")
        .envs(environment.iter().copied())
        .args(["serve", "--default-model", "tiny", "--threads", "1", "--models"])
        .arg(fixtures::models())
        .args(args);
    command
}

pub(crate) fn fresh_socket() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("sidecar-{}-{number}.sock", std::process::id()))
}

/// A greedy request for the default model.
pub(crate) fn request(prompt: &str, trace_id: &str, max_new_tokens: i64) -> GenerationRequest {
    GenerationRequest {
        prompt: prompt.to_owned(),
        sampling: Some(greedy(max_new_tokens)),
        metadata: Some(Metadata { trace_id: trace_id.to_owned(), ..Metadata::default() }),
        ..GenerationRequest::default()
    }
}

/// Speaks the internal model to a server, in the dialect `W`.
pub(crate) struct Client<W> {
    grpc: Grpc<Channel>,
    token: Option<String>,
    headers: Vec<(&'static str, String)>,
    dialect: PhantomData<W>,
}

// Not derived: the dialect, which is only a name, need not be `Clone`.
impl<W> Clone for Client<W> {
    fn clone(&self) -> Self {
        Self {
            grpc: self.grpc.clone(),
            token: self.token.clone(),
            headers: self.headers.clone(),
            dialect: PhantomData,
        }
    }
}

impl<W: WireDialect> Client<W> {
    pub(crate) async fn connect(address: &str) -> Self {
        let uri = if address.contains(':') && !address.starts_with("unix:") {
            format!("http://{address}")
        } else {
            address.to_owned()
        };
        // A window smaller than one generation, so that a reader that stops is felt by the server.
        let endpoint = Endpoint::from_shared(uri).unwrap().initial_stream_window_size(4096);
        Self::over(endpoint.connect().await.unwrap())
    }

    pub(crate) fn over(channel: Channel) -> Self {
        Self { grpc: Grpc::new(channel), token: None, headers: Vec::new(), dialect: PhantomData }
    }

    pub(crate) fn with_token(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned());
        self
    }

    /// One more on every call.
    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// A call whose requests the test sends one by one.
    pub(crate) async fn stream(
        &mut self,
        requests: impl Stream<Item = GenerationRequest> + Send + 'static,
        timeout: Option<Duration>,
    ) -> Result<Streaming<W::Response>, Status> {
        let mut request = self.request(requests.map(W::Request::from));
        if let Some(timeout) = timeout {
            request.set_timeout(timeout);
        }
        self.grpc.ready().await.unwrap();
        let codec = ProstCodec::<W::Request, W::Response>::new();
        Ok(self.grpc.streaming(request, path::<W>("StreamPredict"), codec).await?.into_inner())
    }

    /// All responses of one request.
    pub(crate) async fn generate(
        &mut self,
        request: GenerationRequest,
    ) -> Result<Vec<GenerationResponse>, Status> {
        let responses = self.stream(tokio_stream::once(request), None).await?;
        collect::<W>(responses).await
    }

    pub(crate) async fn control(
        &mut self,
        command: &str,
        payload: &[(&str, &str)],
    ) -> Result<ControlMessage, Status> {
        let payload = payload.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let (trace_id, command) = ("control".to_owned(), command.to_owned());
        let request = self.request(W::Control::from(ControlMessage { trace_id, command, payload }));
        self.grpc.ready().await.unwrap();
        let codec = ProstCodec::<W::Control, W::Control>::new();
        Ok(self.grpc.unary(request, path::<W>("Control"), codec).await?.into_inner().into())
    }

    pub(crate) async fn health(&mut self) -> Result<HealthAnswer, Status> {
        self.grpc.ready().await.unwrap();
        let codec = ProstCodec::<contract::WorkerHealthRequest, W::Health>::new();
        let request = Request::new(contract::WorkerHealthRequest::default());
        Ok(self.grpc.unary(request, path::<W>("Health"), codec).await?.into_inner().into())
    }

    /// One of Health's counters.
    pub(crate) async fn counter(&mut self, name: &str) -> u64 {
        self.health().await.unwrap().metrics[name].parse().unwrap()
    }

    /// Waits until a counter has a value; a deadline of seconds, because machines may be busy.
    pub(crate) async fn until(&mut self, name: &str, value: u64) {
        for _ in 0..500 {
            if self.counter(name).await == value {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("{name} is {}, not {value}, after 5 s", self.counter(name).await);
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        for (name, value) in &self.headers {
            request.metadata_mut().append(*name, value.parse().unwrap());
        }
        request
    }
}

/// Every response until the call's status.
pub(crate) async fn collect<W: WireDialect>(
    mut responses: Streaming<W::Response>,
) -> Result<Vec<GenerationResponse>, Status> {
    let mut all = Vec::new();
    while let Some(response) = responses.message().await? {
        all.push(response.into());
    }
    Ok(all)
}

/// The joined text of a generation, after its shape was checked.
pub(crate) fn text_of(trace_id: &str, responses: &[GenerationResponse]) -> String {
    for (index, response) in responses.iter().enumerate() {
        assert_eq!(response.trace_id, trace_id);
        assert_eq!(response.index, index as i64);
        assert_eq!(response.end_of_stream, index + 1 == responses.len());
    }
    assert!(!responses.is_empty(), "a generation has a last message");
    responses.iter().map(|response| response.chunk.as_str()).collect()
}

fn path<W: WireDialect>(method: &str) -> PathAndQuery {
    format!("/{}/{method}", W::DIALECT.service()).parse().unwrap()
}
