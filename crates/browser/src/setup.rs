//! How a browser is started.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// What is special about a browser.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    microphone: Option<PathBuf>,
}

impl Setup {
    /// With a microphone that hears this recording (WAV) over and over, and whose use is granted without a question.
    #[must_use]
    pub fn microphone(mut self, recording: &Path) -> Self {
        self.microphone = Some(recording.to_owned());
        self
    }

    /// WebDriver's capabilities for a browser whose profile is in this folder.
    pub(crate) fn capabilities(&self, folder: &Path) -> Value {
        let mut flags = vec![
            "--headless=new".to_owned(),
            format!("--user-data-dir={}", folder.join("profile").display()),
            "--window-size=1280,900".into(),
            "--disable-gpu".into(),
            // Containers give little shared memory.
            "--disable-dev-shm-usage".into(),
            "--hide-scrollbars".into(),
            "--force-color-profile=srgb".into(),
            // Nothing leaves this machine.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1".into(),
            "--disable-background-networking".into(),
            "--disable-component-update".into(),
            "--disable-sync".into(),
            "--no-first-run".into(),
            "--no-default-browser-check".into(),
            // A password manager's bubble would lie over the page.
            "--disable-features=PasswordLeakDetection,Translate,OptimizationHints,MediaRouter".into(),
            "--autoplay-policy=no-user-gesture-required".into(),
        ];
        // Chromium does not start its sandbox as root.
        if rustix::process::geteuid().is_root() {
            flags.push("--no-sandbox".into());
        }
        if let Some(recording) = &self.microphone {
            flags.push("--use-fake-device-for-media-stream".into());
            flags.push("--use-fake-ui-for-media-stream".into());
            flags.push(format!("--use-file-for-fake-audio-capture={}", recording.display()));
        }
        json!({
            "browserName": "chrome",
            "webauthn:virtualAuthenticators": true,
            "unhandledPromptBehavior": "ignore",
            "goog:loggingPrefs": { "browser": "ALL" },
            "goog:chromeOptions": {
                "args": flags,
                "prefs": {
                    "credentials_enable_service": false,
                    "profile.password_manager_enabled": false,
                    "profile.password_manager_leak_detection": false,
                },
            },
        })
    }
}
