// What the page says, in English and Chinese.

const TEXTS = {
  en: {
    model: "Model",
    task: "Task",
    ask: "Ask",
    explain: "Explain",
    link: "Link to this text",
    examples: "Examples",
    asking: "Asking…",
    explaining: "Explaining…",
    empty: "There is nothing to ask yet: type a text.",
    errors: {
      0: "The server does not answer.",
      400: "The model cannot take this.",
      401: "This server wants a token: open the page with #token=... after "
        + "its address.",
      404: "The server has no such model now.",
      413: "This is too large.",
      503: "The server is full. Try again soon.",
      504: "This took too long; the server may be busy. Try again.",
      other: "Something went wrong.",
    },
    inputNames: {},
    answer: "Answer",
    words: "Words that pushed it",
    towards: "towards",
    against: "against",
    how: "(integrated gradients; the stronger the colour the more)",
    higher: "a higher score",
    spans: "what was found",
    found: "Found in the text",
    nothing: "nothing",
    more: (count) => `${count} more`,
    cut: (words, most) => `${words} ${words === 1 ? "word" : "words"} (grey) `
      + `beyond the ${most} tokens that the model reads`,
    cutWindows: (words, most) => `${words} ${words === 1 ? "word" : "words"} `
      + `(grey) beyond the first ${most} tokens: the model reads them, the `
      + "explanation does not",
    long: (most) => `This text is longer than the ${most} tokens that the `
      + "model reads",
    times: (answer, explanation) => `Answered in ${answer} ms${
      explanation === undefined ? "" : `, explained in ${explanation} ms`}`,
    versions: "Versions",
    requests: "Requests",
    footer: "A development server. In production the same folder goes to TF "
      + "Serving.",
    threshold: "threshold",
    labels: "Labels",
    head: "Head",
    thresholdName: "Threshold",
    backbone: "Backbone",
    layers: (layers, width) => `BERT, ${layers} layers of width ${width}`,
    reads: "Reads",
    tokens: (count) => `the first ${count} tokens`,
    windows: (count) => `all, in windows of ${count} tokens`,
    trained: "Trained",
    rows: (date, rows) => (rows ? `${date}, ${rows} rows` : date),
    validation: "Validation",
    accuracy: "accuracy",
    macroF1: "macro-F1",
    on: (figures, rows) => (rows ? `${figures} on ${rows} rows` : figures),
    kbert: "kbert",
    versionLabels: "Version labels",
    loaded: "loaded",
    states: {},
    comma: ", ",
    answered: "Answered",
    failed: "Failed",
    predictTimes: "Answers",
    explainTimes: "Explanations",
    perSecond: "Now",
    rate: (rate) => `${rate} a second`,
  },
  zh: {
    model: "模型",
    task: "任务",
    ask: "预测",
    explain: "解释",
    link: "此文本的链接",
    examples: "示例",
    asking: "正在预测…",
    explaining: "正在解释…",
    empty: "还没有内容：请先输入文本。",
    errors: {
      0: "服务器没有回应。",
      400: "模型无法处理此请求。",
      401: "此服务器需要令牌：请在网址后加上 #token=... 再打开本页。",
      404: "服务器上现在没有这个模型。",
      413: "内容太大。",
      503: "服务器已满，请稍后再试。",
      504: "用时过长，服务器可能正忙，请再试一次。",
      other: "出错了。",
    },
    inputNames: {
      text: "文本",
      text_pair: "第二段文本",
      question: "问题",
      context: "上下文",
      title: "标题",
      body: "正文",
      premise: "前提",
      hypothesis: "假设",
    },
    answer: "结果",
    words: "影响结果的词",
    towards: "支持",
    against: "反对",
    how: "（积分梯度；颜色越深，影响越大）",
    higher: "更高的分数",
    spans: "找到的内容",
    found: "在文本中找到",
    nothing: "无",
    more: (count) => `还有 ${count} 个`,
    cut: (words, most) => `${words} 个词（灰色）超出模型读取的 ${most} 个词元`,
    cutWindows: (words, most) => `${words} 个词（灰色）超出前 ${most} 个词元：`
      + "模型会读取，解释不包括它们",
    long: (most) => `此文本超过模型读取的 ${most} 个词元`,
    times: (answer, explanation) => `预测用时 ${answer} 毫秒${
      explanation === undefined ? "" : `，解释用时 ${explanation} 毫秒`}`,
    versions: "版本",
    requests: "请求",
    footer: "这是开发服务器。生产环境中，同一个文件夹交给 TF Serving。",
    threshold: "阈值",
    labels: "标签",
    head: "任务头",
    thresholdName: "阈值",
    backbone: "主干",
    layers: (layers, width) => `BERT，${layers} 层，宽 ${width}`,
    reads: "读取",
    tokens: (count) => `前 ${count} 个词元`,
    windows: (count) => `全文，每窗 ${count} 个词元`,
    trained: "训练",
    rows: (date, rows) => (rows ? `${date}，${rows} 行` : date),
    validation: "验证",
    accuracy: "准确率",
    macroF1: "宏平均 F1",
    on: (figures, rows) => (rows ? `${figures}（${rows} 行）` : figures),
    kbert: "kbert",
    versionLabels: "版本标签",
    loaded: "加载于",
    states: {
      START: "等待",
      LOADING: "正在加载",
      AVAILABLE: "可用",
      UNLOADING: "正在卸载",
      END: "已结束",
    },
    comma: "，",
    answered: "成功",
    failed: "失败",
    predictTimes: "预测",
    explainTimes: "解释",
    perSecond: "当前",
    rate: (rate) => `每秒 ${rate} 次`,
  },
};

const KEY = "language";

function preferred() {
  const wanted = new URLSearchParams(location.hash.slice(1)).get("lang")
    ?? localStorage.getItem(KEY) ?? navigator.language;
  return wanted.toLowerCase().startsWith("zh") ? "zh" : "en";
}

let language = preferred();

export const say = (name) => TEXTS[language][name];

// An input's name for people.
export const nameOf = (input) => (Object.hasOwn(say("inputNames"), input)
  ? say("inputNames")[input] : input.replaceAll("_", " "));

export const locale = () => (language === "zh" ? "zh-CN" : "en");

// Everything that stands in index.html.
function show() {
  document.documentElement.lang = locale();
  for (const part of document.querySelectorAll("[data-say]")) {
    part.textContent = say(part.dataset.say);
  }
}

// Have `picker` choose the language; `changed` says the rest anew.
export function begin(picker, changed) {
  picker.value = language;
  picker.addEventListener("change", () => {
    language = picker.value;
    localStorage.setItem(KEY, language);
    show();
    changed();
  });
  show();
}
