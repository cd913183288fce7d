// Browsers refuse workers to pages that are opened from disk. There the search's worker runs in a
// hidden frame instead, which speaks with the page as a worker would.
if (location.protocol === "file:") {
  window.IFrameWorker = class extends EventTarget {
    constructor(url) {
      super()
      this.url = url
      this.onmessage = this.onerror = null
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.appendChild(this.frame)
      const inside = this.frame.contentWindow
      inside.document.open()
      inside.document.write(`<!doctype html><script>
        postMessage = parent.postMessage.bind(parent)
        importScripts = (...urls) => urls.reduce((before, url) => before.then(() =>
          new Promise((done, failed) => {
            const script = document.createElement("script")
            script.src = url
            script.onload = done
            script.onerror = failed
            document.body.appendChild(script)
          })), Promise.resolve())
      <\/script><body><script src="${url}"><\/script>`)
      inside.document.close()
      this.ready = new Promise((done) => inside.addEventListener("load", done, { once: true }))
      this.receive = (event) => {
        if (event.source !== inside) return
        event.stopImmediatePropagation()
        const message = new MessageEvent("message", { data: event.data })
        this.dispatchEvent(message)
        if (this.onmessage) this.onmessage(message)
      }
      addEventListener("message", this.receive)
    }

    postMessage(data) {
      this.ready.then(() => {
        this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data }))
      })
    }

    terminate() {
      removeEventListener("message", this.receive)
      this.frame.remove()
    }
  }
  window.Worker = window.IFrameWorker
}
