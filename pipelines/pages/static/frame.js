// Inside Airflow a page lies in a sandboxed frame: it follows Airflow's light or dark, and links marked `data-airflow`
// lead Airflow itself to the address instead of opening Airflow inside the frame, and links to a new window open one.
// Without scripts all links but those still work.
(() => {
  const framed = window.parent !== window;
  const root = document.documentElement;
  if (framed) {
    const host = window.parent.document.documentElement;
    const follow = () => {
      root.dataset.theme = host.classList.contains("dark") || host.dataset.theme === "dark" ? "dark" : "light";
    };
    follow();
    new MutationObserver(follow).observe(host, { attributes: true });
  }
  document.addEventListener("click", (event) => {
    const away = event.target.closest('a[target="_blank"]');
    if (framed && away) {
      event.preventDefault();
      const outside = window.parent.document.createElement("a"); // the frame itself may open no window
      Object.assign(outside, { href: away.href, target: "_blank", rel: "noopener" });
      outside.click();
      return;
    }
    const link = event.target.closest("a[data-airflow]");
    if (!framed || !link || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    window.parent.history.pushState({}, "", link.getAttribute("href"));
    window.parent.dispatchEvent(new PopStateEvent("popstate", { state: {} }));
  });
})();
