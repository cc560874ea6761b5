/* Asks a SavedModel without Python: texts in, labels and scores out.
 *
 *     serve FOLDER INPUT LABEL SCORE LIBRARY... < texts
 *
 * FOLDER is an exported version. INPUT, LABEL and SCORE are tensors of its
 * serving_default signature, such as serving_default_text:0 (saved_model_cli
 * shows them). Each LIBRARY has kernels of tensorflow_text. Texts come a line
 * each and are answered as one batch, a line each: label, tab, score.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensorflow/c/c_api.h"
#include "tensorflow/c/tf_tensor.h"
#include "tensorflow/c/tf_tstring.h"

static TF_Status* status;

static void check(const char* what) {
  if (TF_GetCode(status) == TF_OK) return;
  fprintf(stderr, "%s: %s\n", what, TF_Message(status));
  exit(1);
}

/* "name:3" as an output of the graph. */
static TF_Output find(TF_Graph* graph, const char* tensor) {
  char* name = strdup(tensor);
  char* colon = strrchr(name, ':');
  if (colon == NULL) {
    fprintf(stderr, "Expected NAME:INDEX. Received: %s\n", tensor);
    exit(1);
  }
  *colon = '\0';
  TF_Output output = {TF_GraphOperationByName(graph, name), atoi(colon + 1)};
  if (output.oper == NULL) {
    fprintf(stderr, "No operation %s in the graph\n", name);
    exit(1);
  }
  free(name);
  return output;
}

/* Lines of standard input as a string tensor, (B,). */
static TF_Tensor* read_texts(void) {
  TF_TString* texts = NULL;
  int64_t rows = 0;
  char* line = NULL;
  size_t size = 0;
  ssize_t length;
  while ((length = getline(&line, &size, stdin)) != -1) {
    if (length > 0 && line[length - 1] == '\n') --length;
    texts = realloc(texts, (rows + 1) * sizeof(TF_TString));
    TF_TString_Init(&texts[rows]);
    TF_TString_Copy(&texts[rows], line, length);
    ++rows;
  }
  free(line);
  TF_Tensor* tensor =
      TF_AllocateTensor(TF_STRING, &rows, 1, rows * sizeof(TF_TString));
  /* What a short string holds is inside of it, so it may move. */
  memcpy(TF_TensorData(tensor), texts, rows * sizeof(TF_TString));
  free(texts);
  return tensor;
}

int main(int argc, char** argv) {
  if (argc < 5) {
    fprintf(stderr, "usage: serve FOLDER INPUT LABEL SCORE LIBRARY...\n");
    return 2;
  }
  status = TF_NewStatus();
  for (int i = 5; i < argc; ++i) {
    TF_LoadLibrary(argv[i], status);
    check(argv[i]);
  }

  TF_Graph* graph = TF_NewGraph();
  TF_SessionOptions* options = TF_NewSessionOptions();
  const char* tags[] = {"serve"};
  TF_Session* session = TF_LoadSessionFromSavedModel(
      options, NULL, argv[1], tags, 1, graph, NULL, status);
  check(argv[1]);

  TF_Output input = find(graph, argv[2]);
  TF_Output outputs[] = {find(graph, argv[3]), find(graph, argv[4])};
  TF_Tensor* texts = read_texts();
  TF_Tensor* answers[2];
  TF_SessionRun(session, NULL, &input, &texts, 1, outputs, answers, 2, NULL, 0,
                NULL, status);
  check("TF_SessionRun");

  const TF_TString* labels = TF_TensorData(answers[0]);
  const float* scores = TF_TensorData(answers[1]);
  for (int64_t row = 0; row < TF_Dim(answers[0], 0); ++row) {
    printf("%.*s\t%.9g\n", (int)TF_TString_GetSize(&labels[row]),
           TF_TString_GetDataPointer(&labels[row]), scores[row]);
  }

  TF_DeleteTensor(texts);
  TF_DeleteTensor(answers[0]);
  TF_DeleteTensor(answers[1]);
  TF_CloseSession(session, status);
  TF_DeleteSession(session, status);
  TF_DeleteSessionOptions(options);
  TF_DeleteGraph(graph);
  TF_DeleteStatus(status);
  return 0;
}
