//! What a browser makes of the pages: wide and narrow, light and dark.
//!
//! Headless Chromium shows each page in two frames of a wrapper, whose script measures what no picture says: overflow,
//! sizes, labels that collide. The pages themselves have no scripts, and stay as they are.

use std::{
    collections::HashSet,
    fs,
    io::{self, BufReader, Read as _, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use serde::Deserialize;

use crate::pages;

#[test]
fn pages_are_right_in_a_browser_wide_and_narrow_light_and_dark() {
    let Some(chromium) = chromium() else {
        // Past the test harness, which would hide it from the person who runs the tests.
        let note = "NOTE: no chromium here, so the HTML reports were not checked; apt-get install chromium\n";
        io::stderr().write_all(note.as_bytes()).unwrap();
        return;
    };
    let directory = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("html");
    fs::create_dir_all(&directory).unwrap();
    for (name, page) in pages() {
        fs::write(directory.join(format!("{name}.html")), &page).unwrap();
        let [light, dark] = [("light", 1), ("dark", 0)].map(|(scheme, number)| {
            let shot = directory.join(format!("{name}-{scheme}.png"));
            let frames = look(&chromium, &page, number, &shot);
            assert_eq!(frames.iter().map(|frame| frame.width).collect::<Vec<_>>(), WIDTHS);
            for frame in &frames {
                frame.assert_sound(&format!("{name}, {scheme}, {} px", frame.width));
            }
            Picture::read(&shot)
        });
        assert!(light.colours > 40 && dark.colours > 40, "{name}: a picture without content");
        assert!(light.luminance > 200.0, "{name}: light is {}", light.luminance);
        assert!(dark.luminance < 80.0, "{name}: dark is {}", dark.luminance);
    }
}

/// What the wrapper's script saw of one frame.
#[derive(Debug, Deserialize)]
struct Frame {
    width: u32,
    /// Pixels by which something sticks out of the page.
    overflow: f64,
    /// Widths and heights of the drawings that are shown.
    drawings: Vec<(f64, f64)>,
    /// How many drawings are hidden.
    hidden: usize,
    /// Labels beyond the edges of their drawings.
    outside: Vec<String>,
    /// Pairs of labels that lie upon each other.
    colliding: Vec<String>,
    /// Scripts, pictures and links: there are none.
    foreign: usize,
}

impl Frame {
    fn assert_sound(&self, at: &str) {
        assert!(self.overflow <= 0.0, "{at}: it scrolls sideways by {} px", self.overflow);
        assert!(!self.drawings.is_empty(), "{at}: no drawing is shown");
        assert_eq!(self.drawings.len(), self.hidden, "{at}: of each two drawings one is shown");
        for (width, height) in &self.drawings {
            assert!(*width > 250.0 && *height > 150.0, "{at}: a drawing of {width} by {height} px");
        }
        assert_eq!(self.outside, Vec::<String>::new(), "{at}: labels that are cut off");
        assert_eq!(self.colliding, Vec::<String>::new(), "{at}: labels upon each other");
        assert_eq!(self.foreign, 0, "{at}: it is self-contained");
    }
}

/// Takes a picture, and asks the wrapper's script what it saw.
fn look(chromium: &str, page: &str, scheme: u8, shot: &Path) -> Vec<Frame> {
    let directory = tempfile::tempdir().unwrap();
    let wrapper = directory.path().join("wrapper.html");
    let page = page.replace('&', "&amp;").replace('"', "&quot;");
    let frames = WIDTHS.map(|width| {
        format!(r#"<iframe width="{width}" height="{HEIGHT}" style="border:0;vertical-align:top" srcdoc="{page}"></iframe>"#)
    });
    let style = "margin:0;white-space:nowrap";
    let text = format!(
        r#"<!DOCTYPE html><html style="color-scheme:light dark"><body style="{style}">{}<pre id="seen"></pre><script>{SCRIPT}</script></body></html>"#,
        frames.concat()
    );
    fs::write(&wrapper, text).unwrap();
    let mut command = Command::new(chromium);
    // Without its sandbox, because containers often have none to give; it sees nothing but our own pages.
    command.args([
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--hide-scrollbars",
    ]);
    command.arg(format!("--user-data-dir={}", directory.path().join("profile").display()));
    command.arg(format!("--blink-settings=preferredColorScheme={scheme}"));
    command.arg(format!("--window-size={},{SHOWN}", WIDTHS.iter().sum::<u32>()));
    command.arg(format!("--screenshot={}", shot.display())).arg("--dump-dom");
    command.arg(format!("file://{}", wrapper.display()));
    let _ = fs::remove_file(shot);
    let dom =
        finish(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap());
    let seen = dom.split_once(r#"<pre id="seen">"#).and_then(|(_, rest)| rest.split_once("</pre>"));
    let seen = seen.unwrap_or_else(|| panic!("the wrapper's script did not run: {dom:.500}")).0;
    let seen = seen.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    serde_json::from_str(&seen).unwrap_or_else(|error| panic!("{error}: {seen}"))
}

/// What it printed; it is ended if it hangs.
fn finish(mut browser: Child) -> String {
    let mut out = browser.stdout.take().unwrap();
    let reading = thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| String::from_utf8_lossy(&bytes).into_owned())
    });
    let began = Instant::now();
    while browser.try_wait().unwrap().is_none() {
        if began.elapsed() > HANGS {
            browser.kill().unwrap();
            browser.wait().unwrap();
            panic!("chromium did not end within {HANGS:?}");
        }
        thread::sleep(Duration::from_millis(50));
    }
    reading.join().unwrap().unwrap()
}

fn chromium() -> Option<String> {
    let runs = |name: &&str| {
        let mut command = Command::new(name);
        command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find(runs).map(str::to_owned)
}

/// What is in a picture.
struct Picture {
    colours: usize,
    /// The mean, from 0 to 255.
    luminance: f64,
}

impl Picture {
    fn read(path: &Path) -> Self {
        let file = fs::File::open(path).unwrap_or_else(|error| panic!("no picture: {error}"));
        let mut reader = png::Decoder::new(BufReader::new(file)).read_info().unwrap();
        let mut bytes = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut bytes).unwrap();
        let pixels = bytes[..info.buffer_size()].chunks_exact(info.color_type.samples()).step_by(STRIDE);
        let count = pixels.len() as f64;
        let (mut colours, mut sum) = (HashSet::new(), 0.0);
        for pixel in pixels {
            colours.insert([pixel[0], pixel[1], pixel[2]]);
            let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(f64::from);
            sum += 0.2126 * red + 0.7152 * green + 0.0722 * blue;
        }
        Self { colours: colours.len(), luminance: sum / count }
    }
}

/// A wide page's and a telephone's.
const WIDTHS: [u32; 2] = [1200, 400];
/// Enough for the longest page, narrow.
const HEIGHT: u32 = 5000;
/// Of that, in the picture: to read more takes seconds.
const SHOWN: u32 = 1500;
/// Pixels from one that is looked at to the next.
const STRIDE: usize = 7;
const HANGS: Duration = Duration::from_mins(1);

const SCRIPT: &str = r#"
onload = function () {
  var seen = Array.from(document.querySelectorAll("iframe")).map(function (frame) {
    var page = frame.contentDocument, shown = [], hidden = 0, outside = [], colliding = [];
    page.querySelectorAll("svg").forEach(function (svg) {
      var edge = svg.getBoundingClientRect();
      if (!edge.width) { hidden += 1; return; }
      shown.push([edge.width, edge.height]);
      var labels = Array.from(svg.querySelectorAll("text")).map(function (t) { return [t.textContent, t.getBoundingClientRect()]; });
      labels.forEach(function (one, n) {
        var a = one[1];
        if (a.left < edge.left - 1 || a.right > edge.right + 1 || a.top < edge.top - 1 || a.bottom > edge.bottom + 1) outside.push(one[0]);
        labels.slice(n + 1).forEach(function (other) {
          var b = other[1];
          if (Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1) {
            if (Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 3) colliding.push(one[0] + " / " + other[0]);
          }
        });
      });
    });
    var root = page.documentElement;
    return { width: frame.clientWidth, overflow: root.scrollWidth - root.clientWidth, drawings: shown, hidden: hidden,
      outside: outside, colliding: colliding, foreign: page.querySelectorAll("script, img, link, [src]").length };
  });
  document.getElementById("seen").textContent = JSON.stringify(seen);
};
"#;
