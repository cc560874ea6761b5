"""The development server: TF Serving's protocol over the same folder."""
