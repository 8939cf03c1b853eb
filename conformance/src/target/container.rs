//! A server in a container: started, waited for, and removed whatever happens.
//!
//! Talks to the container engine through `testcontainers`; [`ContainerSpec`] says what runs.

use std::{io, path::Path, thread, time::Duration};

use testcontainers::{
    ContainerAsync, ContainerRequest, GenericImage, ImageExt as _, TestcontainersError,
    bollard::{
        errors::Error as EngineError,
        models::{DeviceRequest, PortBinding},
        query_parameters::{KillContainerOptionsBuilder, RemoveContainerOptionsBuilder},
    },
    core::{
        AccessMode, IntoContainerPort as _, Mount,
        client::{ClientError, docker_client_instance},
        logs::LogFrame,
    },
    runners::AsyncRunner as _,
};
use tokio::{
    runtime::Builder,
    time::{Instant, sleep, timeout},
};
use wire::Address;

use super::{
    container_spec::ContainerSpec,
    http2::answers_http2,
    output::{Output, Tail},
    secret::Secret,
    start::Stop,
};

/// A container. [`Container::stop`] ends and removes it; if it is dropped before, it is removed as well.
#[derive(Debug)]
pub struct Container {
    spec: ContainerSpec,
    wait: Duration,
    stop: Stop,
    /// No other container has it.
    name: String,
    output: Output,
    started: Option<ContainerAsync<GenericImage>>,
    /// Whether the engine was asked for it, and may have it.
    asked: bool,
    /// Where its ports are on this machine.
    pub(super) addresses: Vec<Address>,
}

/// Why a container could not be used, and what is at fault.
#[derive(Debug, thiserror::Error)]
pub enum ContainerError {
    /// There is no place for its output.
    #[error("cannot write the target's output to {log}: {source}")]
    Log {
        /// Path of the log file.
        log: String,
        /// The error of the file system.
        source: io::Error,
    },
    /// No engine, or one that does not do what it is asked.
    #[error("Docker is at fault: {why}. Is it installed, does its daemon run, and may this user use it?")]
    Docker {
        /// The container engine's error message.
        why: String,
    },
    /// There is no such image here, and none was fetched.
    #[error("the image {image} is at fault: {why}. Is its name right, and has it been built or pulled?")]
    Image {
        /// The image as the user named it.
        image: String,
        /// The container engine's error message.
        why: String,
    },
    /// The image is there, and cannot be run as asked.
    #[error("a container of {image} cannot be started: {why}. Are its command, mounts and options right?")]
    Settings {
        /// The image as the user named it.
        image: String,
        /// The container engine's error message.
        why: String,
    },
    /// It runs, or ended, without an answer.
    #[error("the server in the container of {image} is at fault: {what}; {output}")]
    Server {
        /// The image as the user named it.
        image: String,
        /// What the server did.
        what: String,
        /// The end of its output.
        output: Tail,
    },
}

impl Container {
    /// Prepares a container. [`Container::ready`] starts it.
    pub(super) fn new(
        mut spec: ContainerSpec,
        env: Vec<(String, Secret)>,
        (wait, stop): (Duration, Stop),
        log: &Path,
    ) -> Result<Self, ContainerError> {
        let output = Output::create(log)
            .map_err(|source| ContainerError::Log { log: log.display().to_string(), source })?;
        spec.env.extend(env);
        let name = format!("conformance-{}", uuid::Uuid::new_v4().simple());
        Ok(Self { spec, wait, stop, name, output, started: None, asked: false, addresses: Vec::new() })
    }

    /// Starts it, and waits until an HTTP/2 server answers behind each of its ports.
    pub(super) async fn ready(&mut self) -> Result<(), ContainerError> {
        let docker = docker_client_instance().await;
        let docker = docker.map_err(|error| ContainerError::Docker { why: error.to_string() })?;
        let answer = timeout(ENGINE_LIMIT, docker.ping()).await;
        let answer = answer.map_err(|_| "the engine does not answer".to_owned());
        answer
            .and_then(|answer| answer.map_err(|error| error.to_string()))
            .map_err(|why| ContainerError::Docker { why })?;
        let request = self.request();
        self.asked = true;
        let started = request.start().await.map_err(|error| self.blame(&error))?;
        let started = self.started.insert(started);
        let mut addresses = Vec::new();
        for port in &self.spec.ports {
            match started.get_host_port_ipv4(port.tcp()).await {
                Ok(port) => addresses.push(Address::Tcp { host: LOOPBACK.to_owned(), port }),
                // Docker knows no ports of a container that has ended.
                Err(_) if !runs(started).await => return Err(self.ended().await),
                Err(error) => return Err(self.blame(&error)),
            }
        }
        let deadline = Instant::now() + self.wait;
        for (address, port) in addresses.iter().zip(self.spec.ports.clone()) {
            while !answers_http2(address).await {
                let Some(started) = &self.started else { break };
                if !runs(started).await {
                    return Err(self.ended().await);
                }
                if Instant::now() > deadline {
                    let wait = humantime::format_duration(self.wait);
                    let what = format!("no HTTP/2 server answered on its port {port} within {wait}");
                    return Err(self.server(what));
                }
                sleep(BETWEEN_LOOKS).await;
            }
        }
        self.addresses = addresses;
        Ok(())
    }

    /// The end of its output.
    pub(super) fn tail(&self) -> Tail {
        self.output.tail()
    }

    /// How it ended, if it has.
    pub(super) async fn exited(&self) -> Option<String> {
        let started = self.started.as_ref()?;
        if runs(started).await {
            return None;
        }
        let code = started.exit_code().await.ok().flatten();
        Some(code.map_or("an unknown status".to_owned(), |code| format!("exit status: {code}")))
    }

    /// Asks it to end, and removes it.
    pub(super) async fn stop(mut self) {
        if let Some(started) = &self.started
            && let Ok(docker) = docker_client_instance().await
        {
            let signal = self.stop.signal.as_raw().to_string();
            let options = KillContainerOptionsBuilder::new().signal(&signal).build();
            // An error means that it has ended already.
            let _ = timeout(ENGINE_LIMIT, docker.kill_container(&self.name, Some(options))).await;
            let deadline = Instant::now() + self.stop.grace;
            while runs(started).await && Instant::now() < deadline {
                sleep(BETWEEN_LOOKS).await;
            }
        }
        match self.started.take() {
            Some(started) => {
                let _ = timeout(ENGINE_LIMIT, started.rm()).await;
                remove(&self.name, false).await; // where the engine did not answer
            }
            None if self.asked => remove(&self.name, true).await,
            None => {}
        }
        self.asked = false;
    }

    fn request(&self) -> ContainerRequest<GenericImage> {
        let (name, tag) = match self.spec.image.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ => (self.spec.image.as_str(), "latest"),
        };
        let mut image = GenericImage::new(name, tag);
        if let Some(entrypoint) = &self.spec.entrypoint {
            image = image.with_entrypoint(entrypoint);
        }
        for port in &self.spec.ports {
            image = image.with_exposed_port(port.tcp());
        }
        let keep = self.output.recorder();
        let mut request = image
            .with_container_name(&self.name)
            .with_startup_timeout(self.wait)
            .with_log_consumer(move |frame: &LogFrame| keep(frame.bytes()));
        if !self.spec.command.is_empty() {
            request = request.with_cmd(self.spec.command.clone());
        }
        for (name, value) in &self.spec.env {
            request = request.with_env_var(name, value.reveal());
        }
        for mount in &self.spec.mounts {
            let access = if mount.read_only { AccessMode::ReadOnly } else { AccessMode::ReadWrite };
            request = request.with_mount(Mount::bind_mount(&mount.from, &mount.to).with_access_mode(access));
        }
        if let Some(user) = &self.spec.user {
            request = request.with_user(user);
        }
        if let Some(network) = &self.spec.network {
            request = request.with_network(network);
        }
        let (ports, gpus) = (self.spec.ports.clone(), self.spec.gpus);
        request.with_host_config_modifier(move |host| {
            // One that reaps what the server leaves, and hands on signals that it would not take as the first process.
            host.init = Some(true);
            host.publish_all_ports = Some(false);
            let free = PortBinding { host_ip: Some(LOOPBACK.to_owned()), host_port: Some(String::new()) };
            let bindings = ports.iter().map(|port| (format!("{port}/tcp"), Some(vec![free.clone()])));
            host.port_bindings = Some(bindings.collect());
            if gpus {
                let all = DeviceRequest {
                    count: Some(-1),
                    capabilities: Some(vec![vec!["gpu".to_owned()]]),
                    ..DeviceRequest::default()
                };
                host.device_requests = Some(vec![all]);
            }
        })
    }

    /// What is at fault where the engine did not start it.
    fn blame(&self, error: &TestcontainersError) -> ContainerError {
        let (image, why) = (self.spec.image.clone(), error.to_string());
        match error {
            TestcontainersError::Client(ClientError::PullImage { err, .. }) => {
                ContainerError::Image { image, why: err.to_string() }
            }
            TestcontainersError::Client(
                ClientError::CreateContainer(EngineError::DockerResponseServerError { message, .. })
                | ClientError::StartContainer(EngineError::DockerResponseServerError { message, .. }),
            ) => ContainerError::Settings { image, why: message.clone() },
            _ => ContainerError::Docker { why },
        }
    }

    async fn ended(&self) -> ContainerError {
        let status = self.exited().await.unwrap_or_else(|| "an unknown status".to_owned());
        sleep(LOG_DELAY).await;
        self.server(format!("it ended with {status} before it was ready"))
    }

    fn server(&self, what: String) -> ContainerError {
        ContainerError::Server { image: self.spec.image.clone(), what, output: self.output.tail() }
    }
}

/// Blocks for a moment: there is no other way to be sure of it when a future is dropped.
impl Drop for Container {
    fn drop(&mut self) {
        if !self.asked {
            return;
        }
        let (name, soon) = (self.name.clone(), self.started.is_none());
        let removal = thread::spawn(move || {
            if let Ok(runtime) = Builder::new_current_thread().enable_all().build() {
                runtime.block_on(remove(&name, soon));
            }
        });
        let _ = removal.join();
    }
}

async fn runs(container: &ContainerAsync<GenericImage>) -> bool {
    container.is_running().await.unwrap_or(false)
}

/// Removes a container. One that the engine was asked for a moment ago may still come to be: it is waited for.
async fn remove(name: &str, may_still_come: bool) {
    let deadline = Instant::now() + CREATION_LIMIT;
    loop {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        let removed = async {
            let Ok(docker) = docker_client_instance().await else { return None };
            docker.remove_container(name, Some(options)).await.err()
        };
        match timeout(ENGINE_LIMIT, removed).await {
            Ok(Some(EngineError::DockerResponseServerError { status_code: 404, .. }))
                if may_still_come && Instant::now() < deadline => {}
            _ => return,
        }
        sleep(BETWEEN_LOOKS).await;
    }
}

const LOOPBACK: &str = "127.0.0.1";
/// An engine that needs longer for one answer does not work.
const ENGINE_LIMIT: Duration = Duration::from_secs(15);
/// Time from a request to create a container to its being there.
const CREATION_LIMIT: Duration = Duration::from_secs(2);
/// The engine hands on the last output a moment after the end.
const LOG_DELAY: Duration = Duration::from_millis(300);
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);
