"""What a person looks at: live displays, tables and pictures."""
