//! How pages are looked at: wide and narrow, light and dark; and pictures of them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::Browser;
use crate::browser::texts;

/// How wide the window is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Width {
    /// 1280 by 900 pixels: a window on a desk.
    Wide,
    /// 360 by 780 pixels: a telephone, held upright.
    Narrow,
}

impl Width {
    /// Pixels.
    pub const fn size(self) -> (u32, u32) {
        match self {
            Self::Wide => (1280, 900),
            Self::Narrow => (360, 780),
        }
    }
}

/// Which colours the person prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Dark on light.
    Light,
    /// Light on dark.
    Dark,
}

impl Browser {
    /// Looks at pages this way from now on.
    pub async fn look(&mut self, width: Width, theme: Theme) {
        self.width = width;
        let (columns, rows) = width.size();
        let window =
            json!({ "width": columns, "height": rows, "deviceScaleFactor": 1, "mobile": width == Width::Narrow });
        self.cdp("Emulation.setDeviceMetricsOverride", window).await;
        let theme = if theme == Theme::Dark { "dark" } else { "light" };
        let media = json!({ "features": [
            { "name": "prefers-color-scheme", "value": theme },
            // Pictures and measurements are of what a page comes to, not of how it moves there.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        self.cdp("Emulation.setEmulatedMedia", media).await;
    }

    /// A picture of the whole page, as PNG.
    pub async fn screenshot(&self) -> Vec<u8> {
        self.capture(json!({ "format": "png" }), u32::MAX, 1.0).await
    }

    /// A picture of the page's first `rows_max` pixels, as WebP: as sharp and as large as it can be in `bytes_max` bytes.
    ///
    /// # Panics
    /// When it has more however it is made.
    pub async fn small_picture(&self, rows_max: u32, bytes_max: usize) -> Vec<u8> {
        for (quality, scale) in [(75, 1.0), (50, 1.0), (50, 0.75), (25, 0.75), (25, 0.5), (5, 0.5)] {
            let how = json!({ "format": "webp", "quality": quality });
            let picture = self.capture(how, rows_max, scale).await;
            if picture.len() <= bytes_max {
                return picture;
            }
        }
        panic!("{} can't be pictured in {bytes_max} bytes", self.url().await);
    }

    async fn capture(&self, mut how: Value, rows_max: u32, scale: f64) -> Vec<u8> {
        let metrics = self.cdp("Page.getLayoutMetrics", json!({})).await;
        let size = &metrics["cssContentSize"];
        let rows = size["height"].as_f64().expect("a number").min(f64::from(rows_max));
        how["clip"] = json!({ "x": 0, "y": 0, "width": size["width"], "height": rows, "scale": scale });
        how["captureBeyondViewport"] = json!(true);
        let picture = self.cdp("Page.captureScreenshot", how).await;
        BASE64_STANDARD.decode(picture["data"].as_str().expect("a picture")).expect("base64")
    }

    /// What sticks out of the window: the page would have to be scrolled sideways to be read (WCAG 2.2, 1.4.10). Empty when it fits.
    pub async fn overflow(&self) -> Vec<String> {
        let script = "const width = arguments[0];
            const wide = document.documentElement.scrollWidth;
            if (wide <= width) return [];
            const out = [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > width + 0.5);
            return [`${wide} pixels wide, not ${width}`, ...out.slice(0, 5).map((e) => e.outerHTML.slice(0, 200))];";
        // Not the page's own idea of it: a telephone zooms out of a page that is too wide.
        texts(&self.run(script, &[json!(self.width.size().0)]).await)
    }
}
